// Which nodes get a release, in which order, when to stop, and what an operator does then. Pure: sees what was found and
// what happened, never sockets, files or clocks.

import { z } from 'zod';
import type { TrafficReply } from '../../config/admin.ts';
import { type Release, releaseIdSchema, releaseSchema } from '../release/release.ts';

/** Who is changing a node; stands in `ROOT/rollout.lock` there. */
export const lockSchema = z.object({
  /** Made for one run of the command. */
  key: z.string().min(8),
  /** The machine that the command runs on, its process there, and when that began (ticks since boot). */
  host: z.string(),
  pid: z.number().int().positive(),
  since: z.string().optional(),
  user: z.string(),
  /** What is being done, for people. */
  doing: z.string(),
  started_at: z.iso.datetime(),
  /** Whether an operator had drained the node before; it stays so then. */
  drained_before: z.boolean(),
});
export type Lock = z.infer<typeof lockSchema>;

/** What `releases.sh state` prints. */
export const nodeReleasesSchema = z.object({
  /** Empty when there is none. */
  current: z.union([releaseIdSchema, z.literal('')]),
  previous: z.union([releaseIdSchema, z.literal('')]),
  releases: z.array(releaseSchema),
  lock: lockSchema.nullable(),
});

/** One node as it was found. */
export interface NodeFound extends z.infer<typeof nodeReleasesSchema> {
  readonly name: string;
  readonly zone: string;
  /** The release that its agent reports; undefined when nothing answers there. */
  readonly serving: string | undefined;
  readonly draining: boolean;
}

/** One node's turn. */
export interface Turn {
  readonly node: string;
  /** The release that it gets. */
  readonly to: string;
  /** The release that it goes back to when this fails; empty when it has none. */
  readonly from: string;
  /** What stood as previous before, so that a step back leaves things as they were. */
  readonly previous: string;
  /** It stays drained, since somebody else had drained it. */
  readonly keepDrained: boolean;
}

export type Plan =
  | { readonly kind: 'refused'; readonly sentence: string }
  | { readonly kind: 'nothing'; readonly sentence: string }
  | { readonly kind: 'turns'; readonly turns: readonly Turn[]; readonly left: readonly string[] };

/** How a release stands to another one: by its version, then by when it was built. */
export function ageOf(one: Release, other: Release): 'newer' | 'same' | 'older' {
  if (one.id === other.id) return 'same';
  const order = compareVersions(one.version, other.version) || compare(one.built_at, other.built_at);
  return order > 0 ? 'newer' : order < 0 ? 'older' : 'same';
}

/** What a rollout of a release does to these nodes, who are all locked or free. */
export function planRollout(
  release: Release,
  nodes: readonly NodeFound[],
  { allowOlder }: { readonly allowOlder: boolean },
): Plan {
  const older = nodes.flatMap((node) => {
    const current = currentOf(node);
    return current && ageOf(release, current) === 'older' ? [{ node, current }] : [];
  });
  const [first] = older;
  if (first && !allowOlder)
    return {
      kind: 'refused',
      sentence: `Release ${release.id} (${release.version}, built ${release.built_at}) is older than ${first.current.id} (${first.current.version}, built ${first.current.built_at}) on ${namesOf(older.map(({ node }) => node))}. To go back to what was there before: toonfleet rollback. If you mean it: --allow-older`,
    };
  const has = (node: NodeFound) =>
    node.current === release.id && node.serving === release.id && node.lock === null;
  const turns = alternate(nodes.filter((node) => !has(node))).map((node) => turnOf(node, release.id));
  if (turns.length === 0)
    return { kind: 'nothing', sentence: `All nodes have release ${release.id} already.` };
  return { kind: 'turns', turns, left: nodes.filter(has).map(({ name }) => name) };
}

/**
 * What a rollback does. With a release named, all nodes go to it; otherwise the newest release that is current anywhere is
 * the one to leave, and each node that has it goes to its previous one: a rollout that stopped half-way is taken back
 * where it came to, and nowhere else.
 */
export function planRollback(nodes: readonly NodeFound[], to?: string): Plan {
  if (to !== undefined) {
    const without = nodes.filter(({ releases }) => !releases.some(({ id }) => id === to));
    if (without.length > 0)
      return {
        kind: 'refused',
        sentence: `Release ${to} is not on ${namesOf(without)} any more. Roll its tarball out instead: toonfleet rollout toonfleet-${to}.tar.gz --allow-older`,
      };
    const away = nodes.filter((node) => node.current !== to || node.serving !== to || node.lock !== null);
    if (away.length === 0) return { kind: 'nothing', sentence: `All nodes have release ${to} already.` };
    return {
      kind: 'turns',
      turns: alternate(away).map((node) => turnOf(node, to)),
      left: nodes.filter((node) => !away.includes(node)).map(({ name }) => name),
    };
  }
  const newest = nodes
    .flatMap((node) => currentOf(node) ?? [])
    .reduce<Release | undefined>(
      (best, each) => (best === undefined || ageOf(each, best) === 'newer' ? each : best),
      undefined,
    );
  if (!newest)
    return { kind: 'refused', sentence: 'No node has a release yet. Begin with: toonfleet rollout TARBALL' };
  const leaving = nodes.filter(({ current }) => current === newest.id);
  const stuck = leaving.filter(({ previous }) => previous === '');
  if (stuck.length > 0)
    return {
      kind: 'refused',
      sentence: `${namesOf(stuck)} had no release before ${newest.id}. Roll another one out: toonfleet rollout TARBALL`,
    };
  return {
    kind: 'turns',
    turns: alternate(leaving).map((node) => turnOf(node, node.previous)),
    left: nodes.filter((node) => !leaving.includes(node)).map(({ name }) => name),
  };
}

function turnOf(node: NodeFound, to: string): Turn {
  const { name, current, previous, lock } = node;
  // A rollout that died in the middle may have drained the node itself; its lock remembers how it was before.
  const keepDrained = lock === null ? node.draining : lock.drained_before;
  // Where the link was moved and the processes were not (a rollout that died), the way back is the one before.
  const from = current === to ? previous : current;
  return { node: name, to, from, previous: from === previous ? '' : previous, keepDrained };
}

/** The release that a node's link names. */
const currentOf = ({ current, releases }: NodeFound) => releases.find(({ id }) => id === current);

const namesOf = (nodes: readonly { readonly name: string }[]) => nodes.map(({ name }) => name).join(', ');

/**
 * The nodes so that neighbours are of different zones as long as that can be: a release that is bad under load then meets
 * each zone once before it meets one twice, and no zone loses two nodes in a row.
 */
export function alternate<T extends { readonly name: string; readonly zone: string }>(
  nodes: readonly T[],
): T[] {
  const zones = new Map<string, T[]>();
  for (const node of [...nodes].sort((a, b) => compareNames(a.name, b.name)))
    zones.set(node.zone, [...(zones.get(node.zone) ?? []), node]);
  const order: T[] = [];
  let last: string | undefined;
  while (order.length < nodes.length) {
    const left = [...zones].filter(([, members]) => members.length > 0);
    const others = left.filter(([zone]) => zone !== last);
    // The fullest zone goes first, or it would be left alone at the end.
    const [zone, members] =
      (others.length > 0 ? others : left).sort(
        ([a, as], [b, bs]) => bs.length - as.length || compareNames(a, b),
      )[0] ?? [];
    const node = members?.shift();
    if (zone === undefined || node === undefined) break;
    order.push(node);
    last = zone;
  }
  return order;
}

/** The steps of a node's turn in their order, as the plays name them. */
export const steps = [
  'room',
  'copy',
  'unpack',
  'preflight',
  'drain',
  'switch',
  'restart',
  'ready',
  'undrain',
  'bake',
  'prune',
] as const;

/** How a node's turn ended. */
export type Outcome =
  | { readonly kind: 'done'; readonly node: string; readonly seconds: number }
  | {
      readonly kind: 'failed';
      readonly node: string;
      /** One of {@link steps}, or what the plays call the task that failed. */
      readonly step: string;
      readonly sentence: string;
      /** What serves there now: as before untouched; as before after a step back; the new release still; nothing. */
      readonly left: 'untouched' | 'back' | 'kept' | 'out';
    }
  | { readonly kind: 'unreachable'; readonly node: string; readonly sentence: string };

/** What comes next in a rollout. */
export type Next =
  | { readonly kind: 'turn'; readonly turn: Turn }
  | { readonly kind: 'finished' }
  | { readonly kind: 'stopped'; readonly sentences: readonly string[] };

/** What to do after these outcomes: the next turn, or nothing any more after the first node that is not good. */
export function next(turns: readonly Turn[], outcomes: readonly Outcome[], stopAsked = false): Next {
  const bad = outcomes.find((outcome) => outcome.kind !== 'done');
  if (bad) return { kind: 'stopped', sentences: advice(bad, turns, outcomes) };
  const turn = turns[outcomes.length];
  if (turn === undefined) return { kind: 'finished' };
  if (stopAsked) return { kind: 'stopped', sentences: ['Stopped as asked.', ...remaining(turns, outcomes)] };
  return { kind: 'turn', turn };
}

/** What happened, what serves now, and what to do. */
function advice(
  bad: Exclude<Outcome, { kind: 'done' }>,
  turns: readonly Turn[],
  outcomes: readonly Outcome[],
): string[] {
  const { node } = bad;
  const { to = '', from = '' } = turns.find((turn) => turn.node === node) ?? {};
  const rest = remaining(turns, outcomes);
  if (bad.kind === 'unreachable')
    return [
      `${node} could not be reached: ${bad.sentence}`,
      `What it does now is not known from here; nothing else was touched.`,
      ...rest,
      `Next: see that "ssh" reaches ${node}, then give the same command again; nodes that are done are left alone.`,
    ];
  const happened = `${node} failed at "${bad.step}": ${bad.sentence}`;
  switch (bad.left) {
    case 'untouched':
      return [
        happened,
        from === '' ? `${node} has no release as before.` : `${node} serves release ${from} as before.`,
        ...rest,
        `Next: ${remedyOf(bad.step, node)}, then give the same command again.`,
      ];
    case 'back':
      return [
        happened,
        `${node} was put back to release ${from} by itself and serves again.`,
        ...rest,
        // Where nothing is done, a rollback would leave the release that serves.
        `Next: find out why on ${node} (toonfleet logs there shows what the release said)${outcomes.some(({ kind }) => kind === 'done') ? ', or take back what is done: toonfleet rollback' : ''}. Release ${to} still lies on ${node}.`,
      ];
    case 'kept':
      return [
        happened,
        `${node} could not be brought back to release ${from}, so it serves release ${to}.`,
        ...rest,
        `Next: see to what is in the way, then: toonfleet rollback --only ${node}.`,
      ];
    case 'out':
      return [
        happened,
        from === ''
          ? `${node} had no release before, so it serves nothing.`
          : `${node} could not be put back to release ${from} either: it is drained and serves nothing, and the others draw its share.`,
        ...rest,
        `Next: look at ${node} (its log tells more), repair it, and give the same command again; or take it out: toonfleet node remove ${node}.`,
      ];
  }
}

/** What an operator does about a step that changed nothing. */
function remedyOf(step: string, node: string): string {
  switch (step) {
    case 'room':
    case 'copy':
      return `make room on ${node} and see that the user may write there`;
    case 'unpack':
      return `see that the tarball is whole (toonfleet release verify) and that ${node} has room`;
    case 'preflight':
      return `put right on ${node} what it complains about`;
    case 'drain':
      return `wait until ${node} may leave (another node is out or busy), or add a node`;
    default:
      return `look at ${node}`;
  }
}

function remaining(turns: readonly Turn[], outcomes: readonly Outcome[]): string[] {
  const done = outcomes.filter(({ kind }) => kind === 'done').map(({ node }) => node);
  const left = turns.slice(outcomes.length).map(({ node }) => node);
  return [
    ...(done.length > 0 ? [`Done and left as they are: ${done.join(', ')}.`] : []),
    ...(left.length > 0 ? [`Not touched: ${left.join(', ')}.`] : []),
  ];
}

/** Whose a lock is. */
export type LockVerdict = 'free' | 'dead' | 'held';

/**
 * Judges a lock that was found.
 * @param alive Whether its process still runs; undefined when it is another machine's, and only age can tell.
 */
export function judgeLock(
  lock: Lock | null,
  alive: boolean | undefined,
  now: Date,
  maxAgeMs: number,
): LockVerdict {
  if (lock === null) return 'free';
  if (alive !== undefined) return alive ? 'held' : 'dead';
  return now.getTime() - Date.parse(lock.started_at) > maxAgeMs ? 'dead' : 'held';
}

/** Who holds a lock, for people. */
export const holderText = ({ user, host, pid, doing, started_at }: Lock) =>
  `${user} on ${host} (process ${pid}) since ${started_at}: ${doing}`;

/** What a node's agent counted over some time. */
export interface Counted {
  readonly pictures: number;
  readonly failed: number;
  /** Over the last minute; 0 without a picture. */
  readonly meanMs: number;
}

/** What a canary's bake has shown; the sentence has no full stop unless it is the balancer's own. */
export interface CanaryVerdict {
  /** `unjudged`: it is not known to be bad, and not shown to be good. */
  readonly kind: 'good' | 'unjudged' | 'bad';
  readonly sentence: string;
}

/** What the balancer's word on a canary comes to. No word is not a good word, and a canary that drew nothing has shown nothing. */
export function judgeCanary(told: TrafficReply | undefined, release: string): CanaryVerdict {
  if (told === undefined)
    return { kind: 'bad', sentence: 'the balancer does not say any more how the canary did' };
  if (told.rolled_back) return { kind: 'bad', sentence: told.rolled_back.sentence };
  if (told.seen === undefined)
    return {
      kind: 'unjudged',
      sentence:
        'the canary is not judged: the balancer is of a release that does not say how many pictures came to it (restart it)',
    };
  const { attempts, faults } = told.seen[release] ?? { attempts: 0, faults: 0 };
  if (attempts === 0)
    return {
      kind: 'unjudged',
      sentence:
        "nothing was shown of the canary: no picture came to it while it baked, only the rollout's own",
    };
  const needed = told.rollback?.min_requests ?? 0;
  if (attempts < needed)
    return {
      kind: 'unjudged',
      sentence: `the canary is not judged: ${faults} of only ${attempts} attempts failed, and the balancer judges from ${needed} on`,
    };
  return {
    kind: 'good',
    sentence: `nothing speaks against the canary: ${faults} of ${attempts} attempts failed`,
  };
}

/**
 * How a canary's turn ended, once its node was to go back to the release before.
 * @param fault Why it had to.
 * @param returned How that went; a way back that failed was put back itself, to the canary's release.
 */
export function canaryEnd(fault: string, returned: Outcome): Outcome {
  const { node } = returned;
  switch (returned.kind) {
    case 'done':
      return { kind: 'failed', node, step: 'bake', sentence: fault, left: 'back' };
    case 'failed':
      return {
        kind: 'failed',
        node,
        step: 'bake',
        sentence: `${fault} The way back failed at "${returned.step}": ${returned.sentence}`,
        left: returned.left === 'out' ? 'out' : 'kept',
      };
    case 'unreachable':
      return { ...returned, sentence: `${returned.sentence} (on the way back: ${fault})` };
  }
}

/** How much worse a node may be than the others. */
export interface BakeLimits {
  /** The share of its pictures that may fail, 0 to 1. */
  readonly maxErrors: number;
  /** So many times as long as on the other nodes may its pictures take. */
  readonly maxSlower: number;
}

/** Too few pictures say nothing about a share or a mean. */
const ENOUGH_PICTURES = 20;

/** What is wrong with a node after its first pictures with the new release; undefined when nothing is. */
export function judgeBake(
  node: Counted,
  others: readonly Counted[],
  { maxErrors, maxSlower }: BakeLimits,
): string | undefined {
  const all = node.pictures + node.failed;
  // Failures need no crowd to be believed, only more than one picture's bad luck.
  if (node.failed > 1 && node.failed > maxErrors * Math.max(all, ENOUGH_PICTURES))
    return `${node.failed} of ${all} pictures failed with the new release, and ${Math.round(maxErrors * 100)} % may`;
  const busy = others.filter(({ pictures, meanMs }) => pictures >= ENOUGH_PICTURES && meanMs > 0);
  if (node.pictures < ENOUGH_PICTURES || node.meanMs <= 0 || busy.length === 0) return undefined;
  const usual = median(busy.map(({ meanMs }) => meanMs));
  if (node.meanMs <= maxSlower * usual) return undefined;
  return `its pictures take ${Math.round(node.meanMs)} ms with the new release, and ${Math.round(usual)} ms on the other nodes`;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const high = sorted[middle] ?? 0;
  return sorted.length % 2 === 1 ? high : ((sorted[middle - 1] ?? high) + high) / 2;
}

/** Versions by their numbers; what has a suffix (1.2.0-rc.1) comes before what has none. */
function compareVersions(a: string, b: string): number {
  const [aCore = '', ...aTail] = a.split('-');
  const [bCore = '', ...bTail] = b.split('-');
  const byCore = compareParts(aCore.split('.'), bCore.split('.'));
  if (byCore !== 0) return byCore;
  if (aTail.length === 0 || bTail.length === 0) return bTail.length - aTail.length;
  return compareParts(aTail.join('-').split('.'), bTail.join('-').split('.'));
}

function compareParts(a: readonly string[], b: readonly string[]): number {
  for (let index = 0; index < Math.max(a.length, b.length); index++) {
    const [one, other] = [a[index], b[index]];
    if (one === undefined || other === undefined) return one === undefined ? -1 : 1;
    const numbers = /^\d+$/.test(one) && /^\d+$/.test(other);
    const order = numbers ? Number(one) - Number(other) : compare(one, other);
    if (order !== 0) return order;
  }
  return 0;
}

/** vm-2 before vm-10. */
const compareNames = (a: string, b: string) =>
  compareParts(a.split(/(\d+)/), b.split(/(\d+)/)) || compare(a, b);

const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);
