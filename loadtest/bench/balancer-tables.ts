// What was seen of each contender of the balancer's bench, and the tables and goals that it comes to. Pure.

import type { Ended } from './clients.ts';
import { mean, percentile } from './figures.ts';
import type { Contender } from './rivals.ts';
import type { Table } from './sheet.ts';
import { idealFifo, type Mix, traceOf } from './trace.ts';

export const LOADS = [0.7, 0.8, 0.9] as const;
export const OVERLOADS = [1.3, 2, 3] as const;
/** The load of the runs with slow uploaders beside, and of those with killed workers. */
export const BESIDE = 0.6;
export const KILLED = 0.4;

/** What a round can be made of. */
export const PARTS = ['latency', 'overload', 'trouble', 'passing'] as const;
export type Part = (typeof PARTS)[number];

/** How long an overload is held, of the seconds of an ordinary run: also most of its clients meet a line that has grown. */
export const overloadSeconds = (seconds: number, deadlineMs: number) =>
  Math.max((3 * deadlineMs) / 1000, seconds / 2);

/** Everything that was seen of one contender, over all rounds. */
export class Seen {
  readonly #latency = new Map<number, Ended[]>();
  readonly #overload = new Map<number, Ended[]>();
  /** At the load of {@link BESIDE}, without and with slow uploaders. */
  readonly alone: Ended[] = [];
  readonly slow: Ended[] = [];
  readonly killed: Ended[] = [];
  readonly passing: { addedMs: number[]; perSecond: number[]; cpuMs: number[] } = {
    addedMs: [],
    perSecond: [],
    cpuMs: [],
  };

  latency(load: number): Ended[] {
    return at(this.#latency, load);
  }

  overload(load: number): Ended[] {
    return at(this.#overload, load);
  }
}

function at(map: Map<number, Ended[]>, load: number): Ended[] {
  const known = map.get(load);
  if (known) return known;
  const made: Ended[] = [];
  map.set(load, made);
  return made;
}

/** What the ideal makes of one round. */
export interface Ideal {
  readonly seen: Seen;
  readonly deadlineMs: number;
}

/** A round, as the ideal has to play it. */
export interface Round {
  readonly mix: Mix;
  readonly slots: number;
  readonly deadlineMs: number;
  readonly seconds: number;
  readonly seed: number;
}

/** Plays a round as a central line in order of arrival that costs nothing. */
export function idealOf({ mix, slots, deadlineMs, seconds, seed }: Round): Ideal {
  const seen = new Seen();
  const play = (load: number, length: number, patienceMs: number): Ended[] => {
    const trace = traceOf(load, slots, length, seed, mix);
    return idealFifo(trace, slots, patienceMs, mix).map((ms, index) => ({
      large: trace[index]?.large === true,
      ms: ms ?? 0,
      lateMs: 0,
      kind: ms === undefined ? 'refused' : 'answered',
    }));
  };
  for (const load of LOADS) seen.latency(load).push(...play(load, seconds, Number.POSITIVE_INFINITY));
  for (const load of OVERLOADS)
    seen.overload(load).push(...play(load, overloadSeconds(seconds, deadlineMs), deadlineMs));
  seen.alone.push(...play(BESIDE, seconds, Number.POSITIVE_INFINITY));
  return { seen, deadlineMs };
}

type Size = 'small' | 'large' | 'all';
const SIZES: readonly Size[] = ['small', 'large', 'all'];
const IDEAL = 'ideal FIFO';

/** Latencies of all; what was not answered counts as never. */
function latencies(ended: readonly Ended[], size: Size): number[] {
  return ended
    .filter(({ large }) => size === 'all' || large === (size === 'large'))
    .map(({ kind, ms }) => (kind === 'answered' ? ms : Number.POSITIVE_INFINITY));
}

const p99 = (ended: readonly Ended[], size: Size) => percentile(latencies(ended, size), 99);
const count = (ended: readonly Ended[], kind: Ended['kind']) =>
  ended.filter((each) => each.kind === kind).length;
const ms = (value: number) =>
  Number.isNaN(value) ? '–' : Number.isFinite(value) ? value.toFixed(0) : '> deadline';
const ratio = (value: number, base: number | undefined) =>
  base === undefined || !Number.isFinite(base)
    ? '–'
    : Number.isFinite(value)
      ? (value / base).toFixed(2)
      : '∞';

/** All tables of a bench. */
export function tablesOf(
  seen: ReadonlyMap<Contender, Seen>,
  ideals: readonly Ideal[],
  stage: string,
  parts: readonly Part[] = PARTS,
): { tables: Table[]; notes: string[]; data: unknown } {
  const ideal = pooled(ideals);
  const rows: (readonly [string, Seen])[] = [[IDEAL, ideal], ...seen];
  const tuned = seen.get('haproxy tuned');
  const goals = goalsOf(seen, ideal, parts);
  const tablesOfPart = (part: Part): Table[] => {
    switch (part) {
      case 'latency':
        return LOADS.map((load) => latencyTable(load, rows, ideal, tuned, stage));
      case 'overload':
        return [overloadTable(rows, ideal)];
      case 'trouble':
        return [troubleTable(seen)];
      case 'passing':
        return [passingTable(seen)];
    }
  };
  return {
    tables: [...parts.flatMap(tablesOfPart), goalTable(goals)],
    notes: parts.includes('latency') ? latencyNotes(seen, ideal) : [],
    data: { stage, contenders: rows.map(([name, each]) => summary(name, each)), goals },
  };
}

function pooled(ideals: readonly Ideal[]): Seen {
  const all = new Seen();
  for (const { seen } of ideals) {
    for (const load of LOADS) all.latency(load).push(...seen.latency(load));
    for (const load of OVERLOADS) all.overload(load).push(...seen.overload(load));
    all.alone.push(...seen.alone);
  }
  return all;
}

const percent = (load: number) => `${Math.round(load * 100)} %`;

function latencyTable(
  load: number,
  rows: readonly (readonly [string, Seen])[],
  ideal: Seen,
  tuned: Seen | undefined,
  stage: string,
): Table {
  return {
    title: `Latency at ${percent(load)} load, ms (${stage})`,
    head: [
      '',
      ...SIZES.map((size) => `${size} p50 / p95 / p99`),
      'p99 ÷ ideal: small / large / all',
      'p99 ÷ HAProxy tuned: small / large / all',
    ],
    rows: rows.map(([name, each]) => {
      const ended = each.latency(load);
      const over = (base: Seen | undefined) =>
        SIZES.map((size) => ratio(p99(ended, size), base && p99(base.latency(load), size))).join(' / ');
      return [
        name,
        ...SIZES.map((size) =>
          [50, 95, 99].map((each) => ms(percentile(latencies(ended, size), each))).join(' / '),
        ),
        over(ideal),
        over(tuned),
      ];
    }),
  };
}

/** What was answered in time, as a part of what the ideal answers. */
const goodput = (ended: readonly Ended[], ideal: readonly Ended[]) =>
  count(ended, 'answered') / Math.max(1, count(ideal, 'answered'));

const refusals = (ended: readonly Ended[]) =>
  ended.filter(({ kind }) => kind === 'refused').map((each) => each.ms);

function overloadTable(rows: readonly (readonly [string, Seen])[], ideal: Seen): Table {
  return {
    title: 'Overload: goodput as a part of the ideal’s; refused, with p50 / p95 ms; gave up',
    head: ['', ...OVERLOADS.map((load) => `${load}×`)],
    rows: rows.map(([name, each]) => [
      name,
      ...OVERLOADS.map((load) => {
        const ended = each.overload(load);
        const refused = refusals(ended);
        const told =
          refused.length === 0
            ? 'refuses nobody'
            : `${refused.length} refused at ${ms(percentile(refused, 50))} / ${ms(percentile(refused, 95))}`;
        return `${goodput(ended, ideal.overload(load)).toFixed(2)}; ${told}; ${count(ended, 'gave up')} gave up`;
      }),
    ]),
  };
}

function troubleTable(seen: ReadonlyMap<Contender, Seen>): Table {
  return {
    title: `Trouble: 20 slow uploaders beside ${percent(BESIDE)} load; half of the workers killed at ${percent(KILLED)}`,
    head: [
      '',
      'p99 without / beside slow uploaders, ms',
      'answered beside them',
      'killed: failed + refused + gave up',
    ],
    rows: [...seen].map(([name, { alone, slow, killed }]) => [
      name,
      `${ms(p99(alone, 'all'))} / ${ms(p99(slow, 'all'))}`,
      `${((100 * count(slow, 'answered')) / Math.max(1, slow.length)).toFixed(1)} %`,
      `${count(killed, 'failed')} + ${count(killed, 'refused')} + ${count(killed, 'gave up')} of ${killed.length}`,
    ]),
  };
}

function passingTable(seen: ReadonlyMap<Contender, Seen>): Table {
  return {
    title: 'Passing 200 KB on to a worker that only reads',
    head: ['', 'added p50, ms', 'requests/s, 8 clients', 'CPU a request, ms'],
    rows: [...seen].map(([name, { passing }]) => [
      name,
      percentile(passing.addedMs, 50).toFixed(2),
      percentile(passing.perSecond, 50).toFixed(0),
      mean(passing.cpuMs).toFixed(2),
    ]),
  };
}

/** On what the percentiles rest, and how punctual the clients were. */
function latencyNotes(seen: ReadonlyMap<Contender, Seen>, ideal: Seen): string[] {
  const pictures = LOADS.map((load) => ideal.latency(load).length);
  const lateness = [...seen.values()].flatMap((each) =>
    LOADS.map((load) =>
      percentile(
        each.latency(load).map(({ lateMs }) => lateMs),
        99,
      ),
    ),
  );
  return [
    `${pictures.join(', ')} pictures of each contender at ${LOADS.map(percent).join(', ')}: a p99 of all rests on a hundredth of them, one of the large on a tenth of that.`,
    `1 of 100 pictures left the bench ${Math.max(...lateness).toFixed(1)} ms late or more, in the worst run.`,
  ];
}

interface Goal {
  readonly what: string;
  /** In the order of the loads that it is asked at. */
  readonly found: readonly number[];
  readonly limit: number;
  readonly atMost: boolean;
}

/** The promises of the balancer, with what was found; those whose contenders did not run are left out. */
function goalsOf(seen: ReadonlyMap<Contender, Seen>, ideal: Seen, parts: readonly Part[]): Goal[] {
  const goals: Goal[] = [];
  const goal = (part: Part, what: string, found: readonly number[], atMost: boolean, limit: number) => {
    if (parts.includes(part)) goals.push({ what, found, atMost, limit });
  };
  const over = (of: Seen, base: Seen, size: Size) =>
    LOADS.map((load) => p99(of.latency(load), size) / p99(base.latency(load), size));
  const [cost, fifo] = [seen.get('toonfleet cost'), seen.get('toonfleet fifo')];
  const [tuned, nodes] = [seen.get('haproxy tuned'), seen.get('nginx nodes')];
  const where = LOADS.map(percent).join(', ');
  if (fifo) goal('latency', `order fifo, all, p99 ÷ ideal at ${where}`, over(fifo, ideal, 'all'), true, 1.05);
  if (cost) {
    if (tuned) {
      goal(
        'latency',
        `order cost, small, p99 ÷ HAProxy tuned at ${where}`,
        over(cost, tuned, 'small'),
        true,
        0.75,
      );
      goal(
        'latency',
        `order cost, large, p99 ÷ HAProxy tuned at ${where}`,
        over(cost, tuned, 'large'),
        true,
        1.3,
      );
    }
    goal('latency', `order cost, all, p99 ÷ ideal at ${where}`, over(cost, ideal, 'all'), true, 1.2);
    if (nodes)
      goal(
        'latency',
        `order cost, all, p99 ÷ nginx over nodes at ${where}`,
        over(cost, nodes, 'all'),
        true,
        0.7,
      );
    const good = OVERLOADS.map((load) => goodput(cost.overload(load), ideal.overload(load)));
    goal('overload', 'goodput of the ideal at 1.3×, 2×, 3×', good, false, 0.98);
    // Where nobody had to be refused, nobody was refused late.
    const slowest = OVERLOADS.map((load) => percentile([0, ...refusals(cost.overload(load))], 95));
    goal('overload', 'refusals, p95 ms at 1.3×, 2×, 3×', slowest, true, 50);
    goal(
      'trouble',
      'p99 beside slow uploaders ÷ without',
      [p99(cost.slow, 'all') / p99(cost.alone, 'all')],
      true,
      1.05,
    );
    goal('trouble', 'failed when half of the workers are killed', [count(cost.killed, 'failed')], true, 0);
    goal('passing', '200 KB: added p50, ms', [percentile(cost.passing.addedMs, 50)], true, 0.8);
    goal('passing', '200 KB: requests/s', [percentile(cost.passing.perSecond, 50)], false, 2000);
  }
  return goals;
}

function goalTable(goals: readonly Goal[]): Table {
  const figure = (value: number) => (Math.abs(value) >= 10 ? value.toFixed(0) : value.toFixed(2));
  return {
    title: 'Goals',
    head: ['goal', 'asked', 'found', 'reached'],
    rows: goals.map(({ what, found, limit, atMost }) => [
      what,
      `${atMost ? '≤' : '≥'} ${limit}`,
      found.map(figure).join(' / '),
      found.every((value) => (atMost ? value <= limit : value >= limit)) ? 'yes' : 'no',
    ]),
  };
}

/** One contender's figures for programs. */
function summary(name: string, seen: Seen): unknown {
  const times = (ended: readonly Ended[]) =>
    Object.fromEntries(
      SIZES.map((size) => {
        const all = latencies(ended, size);
        const at = (each: number) => percentile(all, each);
        return [size, { pictures: all.length, p50: at(50), p95: at(95), p99: at(99) }];
      }),
    );
  const endings = (ended: readonly Ended[]) => ({
    requests: ended.length,
    answered: count(ended, 'answered'),
    refused: count(ended, 'refused'),
    failed: count(ended, 'failed'),
    gave_up: count(ended, 'gave up'),
  });
  return {
    name,
    latency: LOADS.map((load) => ({ load, ...times(seen.latency(load)) })),
    overload: OVERLOADS.map((load) => ({
      load,
      ...endings(seen.overload(load)),
      refusal_p50_ms: percentile(refusals(seen.overload(load)), 50),
      refusal_p95_ms: percentile(refusals(seen.overload(load)), 95),
    })),
    alone: times(seen.alone),
    slow: { ...times(seen.slow), ...endings(seen.slow) },
    killed: endings(seen.killed),
    passing: seen.passing,
  };
}
