// Whether a VM should be woken or parked, and which. Pure: the fleet as a balancer shows it, the rules, what is remembered and
// the time come in; one move goes out. At most one VM is on the move, and after each move there is a pause.

import { spareOf } from '../../balancer/traffic/spare.ts';
import { type Advice, recommend, type Signal, settle } from '../agent/scale.ts';

/** A VM as this decision needs it. */
export interface Vm {
  /** Where its agent is reached: the name that a VM keeps when it is off. */
  readonly url: string;
  readonly id: string;
  readonly zone: string;
  /** It has a worker that takes pictures now. */
  readonly available: boolean;
  readonly draining: boolean;
  /** Its agent answers. */
  readonly answers: boolean;
  /** Slots that take pictures now. */
  readonly slots: number;
}

/** A VM that was sent to sleep here. */
export interface Sleeper {
  readonly url: string;
  readonly id: string;
  readonly zone: string;
  /** Its program failed, but may have done its work: until then (ms since 1970) it may yet go off. */
  readonly doubtfulUntil?: number | undefined;
}

/** What has to be remembered from one look to the next, over restarts too. */
export interface Memory {
  /** Nobody else's sleepers are woken, unless the settings name them. */
  readonly parked: readonly Sleeper[];
  /** The VM that is on the move, and since when (ms since 1970). */
  readonly moving: {
    readonly what: 'wake' | 'park';
    readonly url: string;
    readonly id: string;
    readonly since: number;
  } | null;
  /** No move before this (ms since 1970). */
  readonly restUntil: number;
  /** When a VM last could not be woken or parked. */
  readonly failed: Readonly<Record<string, number>>;
  readonly history: readonly Advice[];
}

export const NOTHING_YET: Memory = { parked: [], moving: null, restUntil: 0, failed: {}, history: [] };

export interface Rules {
  /** Nodes in service: the fewest, already raised to balancer.min_available. */
  readonly min: number;
  /** VMs that may be parked and woken, by id or HOST:PORT; empty is all, but only those parked here are woken. */
  readonly names: readonly string[];
  /** What a park has to leave enough without. */
  readonly spare: 'none' | 'node' | 'zone';
  /** A share. */
  readonly tolerance: number;
  readonly upAfterMs: number;
  readonly downAfterMs: number;
}

/** What is needed now. */
export interface Demand {
  readonly signals: readonly Signal[];
  /** Slots that are taken on average, and pictures that wait. */
  readonly busy: number;
  readonly queued: number;
}

export type Move =
  | { readonly kind: 'hold'; readonly words: string }
  | { readonly kind: 'wake' | 'park'; readonly vm: Pick<Vm, 'url' | 'id' | 'zone'>; readonly words: string };

export interface Decision {
  readonly move: Move;
  readonly current: number;
  readonly desired: number;
  readonly history: readonly Advice[];
}

export function decide(
  vms: readonly Vm[],
  { signals, busy, queued }: Demand,
  memory: Memory,
  rules: Rules,
  now: number,
): Decision {
  const working = vms.filter(({ available }) => available);
  const current = working.length;
  const bounds = { min: Math.min(rules.min, vms.length), max: vms.length };
  const advice = recommend(signals, current, rules.tolerance);
  const verdict = settle(advice, pastOf(memory, current, rules, now), current, bounds, rules, now);
  const { desired, words, history } = verdict;
  const decided = (move: Move): Decision => ({ move, current, desired, history });
  const hold = (why: string) => decided({ kind: 'hold', words: `${words}; ${why}` });

  if (desired === current) return decided({ kind: 'hold', words });
  const pauseMs = memory.restUntil - now;
  if (pauseMs > 0) return hold(`the pause after the last move lasts ${Math.ceil(pauseMs / 1000)} s more`);
  if (desired > current) {
    const vm = sleeperOf(vms, working, memory, rules);
    return vm ? decided({ kind: 'wake', vm, words }) : hold('there is no VM to wake');
  }
  const leaving = working.filter(({ id, url, draining }) => !draining && isNamed(rules.names, id, url));
  const able = leaving.filter((vm) => isSpared(working, vm, busy, queued, rules.spare));
  const vm = leaverOf(able, working, memory);
  if (vm) return decided({ kind: 'park', vm, words });
  return hold(
    leaving.length === 0
      ? 'there is no VM that may be parked'
      : `too little would stay without a ${rules.spare}`,
  );
}

/**
 * What was advised lately. After a gap nobody is parked on the strength of a single look. Where several looks were remembered
 * this program or its balancer was away, and all the time counts anew; where it was one, a timer that is slower than
 * `down_after` looks, and its last word counts as if it were said now.
 */
function pastOf({ history }: Memory, current: number, rules: Rules, now: number): readonly Advice[] {
  const longestMs = Math.max(rules.upAfterMs, rules.downAfterMs);
  const recent = history.filter(({ at }) => now - at < longestMs);
  if (recent.length > 0) return recent;
  const last = history.at(-1);
  const slowTimer = last !== undefined && history.every(({ at }) => at === last.at);
  return [{ at: now, count: slowTimer ? last.count : current }];
}

/** Who is woken: the one that failed longest ago, or never; then one of the zone with the fewest. */
function sleeperOf(
  vms: readonly Vm[],
  working: readonly Vm[],
  { parked, failed }: Memory,
  { names }: Rules,
): Pick<Vm, 'url' | 'id' | 'zone'> | undefined {
  const asleep = vms.flatMap((vm) => {
    const own = parked.find(({ url }) => url === vm.url);
    // A VM that answers is awake, whatever it lacks; one that an operator drained is his.
    if (vm.available || (vm.answers && (!own || own.doubtfulUntil !== undefined))) return [];
    if (own) return [own];
    return names.length > 0 && isNamed(names, vm.id, vm.url) ? [vm] : [];
  });
  return first(
    asleep,
    ({ url }) => failed[url] ?? 0,
    ({ zone }) => inZone(working, zone),
  );
}

/** A VM that neither draws nor answers. */
export const isOff = ({ available, answers }: Pick<Vm, 'available' | 'answers'>) => !available && !answers;

/**
 * Who sleeps now, of those of whom it was remembered. Whom somebody else has woken is no sleeper of ours any more; whose program
 * failed is one as soon as it is seen off, and none once its time is over.
 */
export function stillAsleep({ parked, moving }: Memory, vms: readonly Vm[], now: number): readonly Sleeper[] {
  return parked.flatMap((sleeper) => {
    const { url, id, zone, doubtfulUntil } = sleeper;
    const vm = vms.find((each) => each.url === url);
    if (!vm || moving?.url === url) return [sleeper];
    if (doubtfulUntil === undefined) return vm.available ? [] : [sleeper];
    if (isOff(vm)) return [{ url, id, zone }];
    return now < doubtfulUntil ? [sleeper] : [];
  });
}

/** Who leaves: the one that failed longest ago, or never; of the zone with the most; the smallest. */
function leaverOf(able: readonly Vm[], working: readonly Vm[], { failed }: Memory): Vm | undefined {
  return first(
    able,
    ({ url }) => failed[url] ?? 0,
    ({ zone }) => -inZone(working, zone),
    ({ slots }) => slots,
  );
}

const inZone = (vms: readonly Vm[], zone: string) => vms.filter((vm) => vm.zone === zone).length;

/** The first by several marks, the lower the earlier; names decide among equals, so that it is always the same one. */
function first<T extends { readonly id: string }>(
  all: readonly T[],
  ...marks: readonly ((one: T) => number)[]
): T | undefined {
  return [...all].sort(
    (a, b) =>
      marks.map((mark) => mark(a) - mark(b)).find((difference) => difference !== 0) ?? (a.id < b.id ? -1 : 1),
  )[0];
}

/** Whether the rest would be enough, also without what `spare` names. */
function isSpared(
  working: readonly Vm[],
  gone: Vm,
  busy: number,
  queued: number,
  spare: Rules['spare'],
): boolean {
  const rest = spareOf(
    working.filter(({ url }) => url !== gone.url),
    busy,
    queued,
  );
  // A zone without a node is no zone to fall back on.
  const keepsZone = rest.zones.some(({ zone }) => zone === gone.zone);
  switch (spare) {
    case 'none':
      return rest.slots >= rest.needed;
    case 'node':
      return keepsZone && rest.without_a_node_of_each_zone.enough;
    case 'zone':
      return keepsZone && rest.without_largest_zone.enough;
  }
}

function isNamed(names: readonly string[], id: string, url: string): boolean {
  return names.length === 0 || names.includes(id) || names.includes(new URL(url).host);
}
