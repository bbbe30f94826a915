// `toonfleet rollout step drain|undrain|ready|bake`: what the plays ask for from the machine they are run on, since it is
// HTTP and not work on the node. Each ends with 0, or with 1 and one sentence.

import { setTimeout as wait } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { ADMIN_PATHS, statusSchema } from '../../config/admin.ts';
import type { LoadedSettings } from '../../config/load.ts';
import { reachable } from '../../config/reachable.ts';
import { parseDuration } from '../../config/units.ts';
import { fleetCommand } from '../fleet.ts';
import { EXIT_USAGE, STANDARD } from '../terminal.ts';
import {
  becomesReady,
  countsOf,
  drainByAgent,
  type NodeAddress,
  rosterOf,
  StepFault,
  undrainByAgent,
} from './node.ts';
import { type Counted, judgeBake } from './plan.ts';

const FLAGS = {
  agent: { type: 'string' },
  release: { type: 'string' },
  workers: { type: 'string' },
  within: { type: 'string' },
  others: { type: 'string' },
} as const;

const { say, complain } = STANDARD;

/** How often a bake looks, so that a node that fails every picture is seen early. */
const BAKE_LOOK_MS = 1_000;
/** How long a balancer may take to use a node again. */
const BACK_WITHIN_MS = 15_000;

/** Runs one step; the answer is the exit code. */
export async function rolloutStep(args: readonly string[], settings: LoadedSettings): Promise<number> {
  const { values, positionals } = parseArgs({ args: [...args], options: FLAGS, allowPositionals: true });
  const [step] = positionals;
  const agent = values.agent ?? '';
  if (!URL.canParse(agent)) {
    complain(`rollout step: --agent: found "${agent}"; allowed is such as http://10.0.0.11:8001`);
    return EXIT_USAGE;
  }
  const node: NodeAddress = { agent, key: settings.node.key };
  const within = (fallback: number) =>
    (values.within === undefined ? undefined : parseDuration(values.within)) ?? fallback;
  try {
    switch (step) {
      case 'drain':
        return await drain(node, settings, within(settings.rollout.drain_within));
      case 'undrain':
        return await undrain(node, settings);
      case 'ready': {
        const workers = Number(values.workers ?? 1);
        const began = Date.now();
        const count = await becomesReady(
          node,
          values.release ?? '',
          workers,
          within(settings.rollout.ready_within),
        );
        say(`${count} workers draw with release ${values.release} after ${seconds(Date.now() - began)}`);
        return 0;
      }
      case 'bake': {
        const others = (values.others ?? '').split(',').filter((each) => each !== '' && each !== agent);
        await bake(node, others, settings, within(settings.rollout.bake));
        return 0;
      }
      default:
        complain(`rollout step: found "${step ?? ''}"; allowed: drain, undrain, ready, bake`);
        return EXIT_USAGE;
    }
  } catch (error) {
    if (!(error instanceof StepFault)) throw error;
    complain(error.message);
    return 1;
  }
}

const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`;

/** By the balancer where it can be asked, since it refuses when too few nodes would be left; else by the agent. */
async function drain(node: NodeAddress, settings: LoadedSettings, withinMs: number): Promise<number> {
  if ((await rosterOf(node)) === undefined) {
    say('nothing answers there, so nothing has to be drained');
    return 0;
  }
  if (!(await balancerKnows(node, settings))) {
    await drainByAgent(node, withinMs);
    say('drained by its agent');
    return 0;
  }
  const code = await fleetCommand('drain', [hostPort(node), '--wait', `${withinMs}ms`], () => settings, {
    say,
    complain,
  });
  if (code !== 3) return code;
  throw new StepFault(`not idle after ${seconds(withinMs)}; rollout.drain_within allows no more`);
}

async function undrain(node: NodeAddress, settings: LoadedSettings): Promise<number> {
  if (!(await balancerKnows(node, settings))) {
    await undrainByAgent(node);
    return 0;
  }
  const code = await fleetCommand('undrain', [hostPort(node)], () => settings, { say, complain });
  if (code !== 0) return code;
  const end = Date.now() + BACK_WITHIN_MS;
  while ((await nodeOfBalancer(node, settings))?.available !== true) {
    if (Date.now() > end) throw new StepFault('the balancer does not use it again');
    await wait(BAKE_LOOK_MS / 5);
  }
  return 0;
}

/** Watches the node's first pictures. The counts of an agent go on over restarts, so differences are what is judged. */
async function bake(
  node: NodeAddress,
  others: readonly string[],
  settings: LoadedSettings,
  forMs: number,
): Promise<void> {
  const { bake_errors, bake_slower } = settings.rollout;
  const limits = { maxErrors: bake_errors / 100, maxSlower: bake_slower / 100 };
  const peers = others.map((agent) => ({ agent, key: node.key }));
  const [from, ...fromPeers] = await Promise.all([node, ...peers].map(countsOf));
  if (from === undefined) throw new StepFault('its agent does not answer');
  const end = Date.now() + forMs;
  for (;;) {
    const left = end - Date.now();
    await wait(Math.max(0, Math.min(BAKE_LOOK_MS, left)));
    const [now, ...nowPeers] = await Promise.all([node, ...peers].map(countsOf));
    if (now === undefined) throw new StepFault('its agent does not answer any more');
    const last = left <= BAKE_LOOK_MS;
    // The first pictures of a new process take longer than all that follow, so times are judged at the end.
    const compared = last ? nowPeers.flatMap((each, index) => difference(fromPeers[index], each) ?? []) : [];
    const fault = judgeBake(difference(from, now) ?? from, compared, limits);
    if (fault !== undefined) throw new StepFault(fault);
    const known = await nodeOfBalancer(node, settings);
    if (known && !known.available && !known.draining)
      throw new StepFault('the balancer takes none of its workers for usable any more');
    if (last) {
      const { pictures, failed } = difference(from, now) ?? from;
      say(`${pictures} pictures, ${failed} failed`);
      return;
    }
  }
}

function difference(from: Counted | undefined, to: Counted | undefined): Counted | undefined {
  if (!from || !to) return undefined;
  return { pictures: to.pictures - from.pictures, failed: to.failed - from.failed, meanMs: to.meanMs };
}

const hostPort = ({ agent }: NodeAddress) => {
  const { hostname, port } = new URL(agent);
  return `${hostname}:${port || '80'}`;
};

const balancerKnows = async (node: NodeAddress, settings: LoadedSettings) =>
  (await nodeOfBalancer(node, settings)) !== undefined;

/**
 * This node's row at the balancer of the settings; undefined when there is no token, no balancer, or no such node.
 * @throws {StepFault} when the balancer refuses the token: without its word nobody would count who else is out.
 */
async function nodeOfBalancer({ agent }: NodeAddress, settings: LoadedSettings) {
  const { admin_token: token, admin_host: host, admin_port: port } = settings.balancer;
  if (token === undefined) return undefined;
  let response: Response;
  let body: unknown;
  try {
    response = await fetch(`http://${reachable(host)}:${port}${ADMIN_PATHS.status}`, {
      headers: { authorization: `Bearer ${token}` },
      signal: AbortSignal.timeout(5_000),
    });
    body = await response.json();
  } catch {
    return undefined;
  }
  if (response.status === 401)
    throw new StepFault(
      `the balancer at ${host}:${port} does not take the admin token here (balancer.admin_token, balancer.admin_token_file)`,
    );
  const { data } = statusSchema.safeParse(body);
  return data?.nodes.find(({ url }) => new URL(url).origin === new URL(agent).origin);
}
