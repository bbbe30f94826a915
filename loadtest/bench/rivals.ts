// Starts what the balancer is measured against, and the balancer itself: each on a free port, with a folder of its own,
// in front of the same workers. Rivals are the system's nginx and HAProxy; where they are missing they are left out.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { PACKAGE_ROOT } from '../../ops/process/package.ts';
import { freePorts } from '../../ops/process/trial.ts';
import { ordinarily } from '../priority.ts';

/** The balancer as this file itself runs: compiled, or as it was written. */
const MAIN = join(import.meta.dirname, `../../balancer/main${extname(import.meta.filename)}`);

/**
 * What is measured. `haproxy tuned`: maxconn 1 for each worker port, a queue timeout (`tunedQueueMs`), and redispatch. `nginx ports` and `nginx nodes`: least_conn over the workers' own ports, and over the nodes' shared ones.
 */
export const contenders = [
  'toonfleet cost',
  'toonfleet fifo',
  'haproxy tuned',
  'haproxy leastconn',
  'nginx ports',
  'nginx nodes',
] as const;
export type Contender = (typeof contenders)[number];

/** A front that listens. */
export interface Front {
  readonly url: string;
  /** CPU that it has used since its start, ms. */
  cpuMs(): number;
  stop(): Promise<void>;
}

/** Workers behind a front. */
export interface Behind {
  readonly urls: readonly string[];
  /** One port a node that reaches any of its workers. */
  readonly sharedUrls: readonly string[];
  /** The agent that speaks for real workers; the balancer asks it instead of being told the ports. */
  readonly agentUrl?: string;
  /** Pictures that one of them may have at once. */
  readonly slots: number;
  readonly deadlineMs: number;
  /** The longest service time; what a tuned queue timeout leaves for it. */
  readonly serviceMs: number;
}

/** Of the deadline: what a tuned queue timeout leaves for the way there and back. */
const ON_THE_WAY = 0.02;

/**
 * How long a tuned HAProxy lets a picture wait: what is left of the deadline after the longest service, and a little less.
 * Without that little, under overload each of the longest services ends a moment after its deadline, and a rival whose
 * operator would have seen that on the first day would lose half of its work for nothing.
 */
export function tunedQueueMs({ deadlineMs, serviceMs }: Pick<Behind, 'deadlineMs' | 'serviceMs'>): number {
  return Math.max(1, Math.round(deadlineMs * (1 - ON_THE_WAY) - serviceMs));
}

/** Whether a contender can be run here. */
export function available(contender: Contender): boolean {
  const [program = ''] = contender.split(' ');
  return program === 'toonfleet' || spawnSync(program, ['-v']).status === 0;
}

/** Starts one contender; resolves when it answers. */
export async function startFront(contender: Contender, behind: Behind): Promise<Front> {
  const dir = mkdtempSync(join(tmpdir(), 'toonfleet-bench-'));
  const [port = 0, admin = 0] = await freePorts(2);
  const child = spawnContender(contender, { port, admin, dir, behind });
  const exited = once(child, 'exit');
  const kill = () => void child.kill('SIGKILL');
  process.once('exit', kill);
  child.once('exit', () => process.off('exit', kill));
  const url = `http://127.0.0.1:${port}`;
  try {
    await untilReady(url, child, contender);
  } catch (error) {
    kill();
    rmSync(dir, { recursive: true, force: true });
    throw error;
  }
  return {
    url,
    cpuMs: () => cpuMsOf(child.pid),
    async stop() {
      kill();
      // nginx's and HAProxy's workers are children of their master and end with it.
      await exited;
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** Where a contender listens and what it has. */
interface Seat {
  readonly port: number;
  readonly admin: number;
  readonly dir: string;
  readonly behind: Behind;
}

function spawnContender(contender: Contender, seat: Seat): ChildProcess {
  switch (contender) {
    case 'toonfleet cost':
      return startToonfleet('cost', seat);
    case 'toonfleet fifo':
      return startToonfleet('fifo', seat);
    case 'nginx ports':
      return startNginx(seat, seat.behind.urls);
    case 'nginx nodes':
      return startNginx(seat, seat.behind.sharedUrls);
    case 'haproxy tuned':
      return startHaproxy(true, seat);
    case 'haproxy leastconn':
      return startHaproxy(false, seat);
  }
}

function startToonfleet(order: 'cost' | 'fifo', { port, admin, dir, behind }: Seat): ChildProcess {
  const { urls, agentUrl, slots, deadlineMs } = behind;
  const fleet: Record<string, string> =
    agentUrl === undefined
      ? { TOONFLEET_UPSTREAMS: JSON.stringify(urls.map((url) => ({ url, slots }))) }
      : { TOONFLEET_NODES: JSON.stringify([{ agent: agentUrl }]) };
  const { program, args } = ordinarily([process.execPath, ...process.execArgv, MAIN]);
  return spawn(program, args, {
    cwd: PACKAGE_ROOT,
    stdio: ['ignore', 'ignore', 'inherit'],
    env: {
      ...process.env,
      TOONFLEET_DATA_DIR: dir,
      TOONFLEET_NODE__NAME: 'bench',
      TOONFLEET_BALANCER__HOST: '127.0.0.1',
      TOONFLEET_BALANCER__PORT: String(port),
      TOONFLEET_BALANCER__ADMIN_PORT: String(admin),
      TOONFLEET_BALANCER__ORDER: order,
      TOONFLEET_BALANCER__DEADLINE: `${deadlineMs}ms`,
      ...fleet,
    },
  });
}

function startNginx({ port, dir }: Seat, urls: readonly string[]): ChildProcess {
  for (const name of ['body', 'proxy']) mkdirSync(join(dir, name));
  const servers = urls.map((url) => `server ${new URL(url).host};`).join(' ');
  writeFileSync(
    join(dir, 'nginx.conf'),
    `daemon off; master_process off; pid ${dir}/pid; error_log /dev/null;
events { worker_connections 4096; }
http {
  access_log off; client_max_body_size 25m; client_body_buffer_size 1m;
  client_body_temp_path ${dir}/body; proxy_temp_path ${dir}/proxy;
  fastcgi_temp_path ${dir}/proxy; uwsgi_temp_path ${dir}/proxy; scgi_temp_path ${dir}/proxy;
  upstream workers { least_conn; ${servers} keepalive 64; }
  server {
    listen 127.0.0.1:${port} backlog=1024;
    location / {
      proxy_pass http://workers; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_next_upstream error timeout non_idempotent; proxy_connect_timeout 1s; proxy_read_timeout 60s;
    }
  }
}
`,
  );
  const { program, args } = ordinarily(['nginx', '-p', dir, '-c', join(dir, 'nginx.conf')]);
  return spawn(program, args, { stdio: 'ignore' });
}

function startHaproxy(tuned: boolean, { port, dir, behind }: Seat): ChildProcess {
  const { urls, slots } = behind;
  const servers = urls.map(
    (url, index) =>
      `  server w${index} ${new URL(url).host} check inter 500ms fall 2 rise 2${tuned ? ` maxconn ${slots}` : ''}`,
  );
  writeFileSync(
    join(dir, 'haproxy.cfg'),
    `global
  maxconn 4096
defaults
  mode http
  timeout connect 1s
  timeout client 60s
  timeout server 60s
  timeout queue ${tuned ? tunedQueueMs(behind) : 60_000}ms
  option httpchk GET /ready
  http-reuse always
  retries 3
  option redispatch 1
  retry-on conn-failure empty-response
frontend front
  bind 127.0.0.1:${port} backlog 1024
  default_backend workers
backend workers
  balance leastconn
${servers.join('\n')}
`,
  );
  const { program, args } = ordinarily(['haproxy', '-db', '-f', join(dir, 'haproxy.cfg')]);
  return spawn(program, args, { stdio: 'ignore' });
}

/** Waits until a front answers that its workers are ready, and its checks have seen all of them. */
async function untilReady(url: string, child: ChildProcess, name: string): Promise<void> {
  const until = performance.now() + 20_000;
  while (performance.now() < until) {
    if (child.exitCode !== null) throw new Error(`${name} ended with ${child.exitCode}`);
    const status = await new Promise<number>((resolve) => {
      http
        .get(`${url}/ready`, { agent: false }, (response) => {
          response.resume();
          resolve(response.statusCode ?? 0);
        })
        .on('error', () => resolve(0));
    });
    if (status === 200) return void (await sleep(1000));
    await sleep(100);
  }
  throw new Error(`${name} did not become ready`);
}

/** User and system time of a process, from its entry in /proc; a tick is 10 ms on every Linux that Node runs on. */
function cpuMsOf(pid: number | undefined): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  // The second field is the program's name in brackets, and may hold anything.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}
