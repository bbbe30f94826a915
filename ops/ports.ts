// Which ports a role needs, and whether they are free before anything is started: a person learns the port, the
// setting and what to write, instead of a crash loop in a log.

import { createServer } from 'node:net';
import type { LoadedSettings } from '../config/load.ts';
import { envNameOf } from '../config/schema.ts';
import type { Role } from './apps.ts';

/** A port that a setting names. */
export interface NeededPort {
  readonly setting: string;
  readonly host: string;
  readonly port: number;
}

/** The ports that a role listens on, apart from the workers' own. */
export function neededPorts({ balancer, worker, agent }: LoadedSettings, role: Role): NeededPort[] {
  const front = [
    { setting: 'balancer.port', host: balancer.host, port: balancer.port },
    { setting: 'balancer.admin_port', host: balancer.admin_host, port: balancer.admin_port },
    ...(balancer.tls.cert_file === ''
      ? []
      : [{ setting: 'balancer.tls.port', host: balancer.host, port: balancer.tls.port }]),
  ];
  const node = [
    { setting: 'worker.shared_port', host: worker.host, port: worker.shared_port },
    { setting: 'agent.port', host: agent.host, port: agent.port },
  ];
  switch (role) {
    case 'all':
      return [...front, ...node];
    case 'balancer':
      return front;
    case 'node':
      return node;
  }
}

/** What is wrong with the ports, a sentence each; empty when all can be had. */
export async function portFaults(settings: LoadedSettings, role: Role, workers: number): Promise<string[]> {
  const faults: string[] = [];
  for (const needed of neededPorts(settings, role)) {
    const fault = await portFault(needed);
    if (fault !== undefined) faults.push(fault);
  }
  if (role !== 'balancer') {
    const { host, port_first, port_last } = settings.worker;
    let free = 0;
    for (let port = port_first; port <= port_last && free < workers; port++)
      if ((await listenError(host, port)) === undefined) free++;
    if (free < workers)
      faults.push(
        `Of the ports ${port_first}-${port_last} (worker.port_first, worker.port_last) only ${free} are free, and ${workers} workers need one each. Set another range: ${envNameOf('worker.port_first')}=${port_first + 1000} ${envNameOf('worker.port_last')}=${port_last + 1000}`,
      );
  }
  return faults;
}

/** Why a port cannot be had, with what to do; undefined when it is free. */
export async function portFault(needed: NeededPort): Promise<string | undefined> {
  const code = await listenError(needed.host, needed.port);
  return code === undefined ? undefined : describe(needed, code);
}

/** A port that is free on this host now. */
export async function freePort(host: string): Promise<number> {
  const { port } = await listenOnce(host, 0);
  return port;
}

function describe({ setting, host, port }: NeededPort, code: string): string {
  const other = port < 1024 ? port + 8000 : port + 10;
  const [name = '', ...rooms] = setting.split('.').reverse();
  const yaml = rooms.reduce((inner, room) => `${room}: {${inner}}`, `${name}: ${other}`);
  const remedy = `set another: ${envNameOf(setting)}=${other}, or "${yaml}" in toonfleet.yaml`;
  switch (code) {
    case 'EADDRINUSE':
      return `Port ${port} (${setting}) is taken by another program. Stop that one, or ${remedy}.`;
    case 'EACCES':
      return `Port ${port} (${setting}) needs more rights than this user has; ${remedy}.`;
    case 'EADDRNOTAVAIL':
      return `${host} (${setting.replace(/port$/, 'host')}) is no address of this machine.`;
    default:
      return `Port ${port} (${setting}) on ${host} cannot be had (${code}).`;
  }
}

async function listenError(host: string, port: number): Promise<string | undefined> {
  try {
    await listenOnce(host, port);
    return undefined;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? 'unknown';
  }
}

function listenOnce(host: string, port: number): Promise<{ port: number }> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen({ host, port, exclusive: true }, () => {
      const address = server.address();
      server.close(() => resolve({ port: typeof address === 'object' && address ? address.port : port }));
    });
  });
}
