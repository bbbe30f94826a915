// `npm run bench scaling`: how a fleet's ceiling grows. One, two and three nodes as real machines would run them, each in
// a network namespace and a control group of its own, with the balancer in front; and virtual workers up to two hundred
// slots, with what the simulation had foretold beside each. Every row says what it is.

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { INTERNAL_PATHS, nodeRosterSchema } from '../../config/contract.ts';
import { type Lan, makeLan, type Namespace } from '../../ops/process/namespaces.ts';
import { READY_WITHIN_MS, startTrial, type Trial, trialPlace, until } from '../../ops/process/trial.ts';
import { type Fit, fitCeilings, type Measured } from '../capacity.ts';
import { rate } from '../plans/plan.ts';
import { percent } from '../report/words.ts';
import type { Run } from '../result.ts';
import { parseServiceTime } from '../service-times.ts';
import { simulatedCeiling } from '../simulation.ts';
import { type CpuShare, makeCpuShare } from './cpu-share.ts';
import { loadRun } from './load-run.ts';
import { startFront } from './rivals.ts';
import { printSheet, type Table } from './sheet.ts';
import { TimeBox } from './time-box.ts';
import { startVirtualFleet } from './virtual-fleet.ts';

const USAGE = `Usage: npm run bench scaling -- [--nodes 1,2,3] [--share CORES] [--workers 1] [--side 512] [--slots 8,50,100,200]
                                [--step 12s] [--minutes 40] [--json]

Plan "ceiling" on fleets of several sizes, the balancer in front.

  namespaced   nodes with PM2, workers and agent, each in a network namespace of its own and held by a control group to
               --share of a core (default: equal parts of what is left beside half a core for balancer and
               generator); needs root. The fit is that of "toonfleet capacity".
  virtual      one-slot workers that sleep (exponential, 500 ms), 256 px photos; the simulation's ceiling for the
               same fleet stands beside each, computed from the service time and not from the run

--nodes off or --slots off leaves a half out. Starts nothing that would not end within --minutes, and says so.

Examples:
  npm run bench scaling
  npm run bench scaling -- --nodes 1,2 --slots off --minutes 10
`;

/** Cores that balancer and generator need beside the nodes. */
const BESIDE_CORES = 0.5;
const VIRTUAL_SERVICE = 'exp:500ms';
const VIRTUAL_MEAN_MS = 500;
const VIRTUAL_SIDE = 256;
const SLOTS_PER_VIRTUAL_NODE = 4;
const SIMULATED_SECONDS = 200;
/** Of plan ceiling's default service level. */
const P95_MS = 3000;

/** One fleet's ceiling. */
interface Row {
  readonly kind: 'namespaced' | 'virtual';
  readonly nodes: number;
  readonly slots: number;
  readonly verdict: Run['verdict'];
  readonly sentence: string;
  readonly ceilingQps: number | null;
  readonly confirmedQps: number | null;
  readonly p95Ms: number | null;
  readonly seconds: number;
  /** What was computed beforehand; null for nodes that draw. */
  readonly simulatedQps: number | null;
  /** The share of the run in which the quota held the nodes back, mean over nodes; null without one. */
  readonly heldBack: number | null;
}

/** Runs the bench; returns the exit code. */
export async function benchScaling(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      nodes: { type: 'string', default: '1,2,3' },
      share: { type: 'string' },
      workers: { type: 'string', default: '1' },
      side: { type: 'string', default: '512' },
      slots: { type: 'string', default: '8,50,100,200' },
      step: { type: 'string', default: '12s' },
      minutes: { type: 'string', default: '40' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const [nodes, slots] = [sizesOf(values.nodes), sizesOf(values.slots)];
  const most = Math.max(1, ...(nodes ?? []));
  const share = Number(
    values.share ?? (Math.max(0.5, availableParallelism() - BESIDE_CORES) / most).toFixed(2),
  );
  const [workers, side, minutes] = [Number(values.workers), Number(values.side), Number(values.minutes)];
  const wrong = !nodes || !slots || !(share > 0) || !(workers >= 1) || !(side >= 16) || !(minutes > 0);
  if (values.help || wrong) {
    (wrong ? process.stderr : process.stdout).write(USAGE);
    return wrong ? 2 : 0;
  }
  const box = new TimeBox(minutes);
  const dir = mkdtempSync(join(tmpdir(), 'toonfleet-bench-'));
  const found: Row[] = [];
  const notes: string[] = [];
  const add = (row: Row) => {
    found.push(row);
    process.stderr.write(`${row.kind}, ${row.nodes} nodes, ${row.slots} slots: ${row.sentence}\n`);
  };
  try {
    if (nodes.length > 0) {
      const how: Namespaced = { sizes: nodes, share, workers, side, step: values.step, dir };
      try {
        await onNamespaces(how, slots.length > 0 ? box.share(2) : box, add, notes);
      } catch (error) {
        if (!(error instanceof CannotIsolate)) throw error;
        notes.push(`Namespaced nodes were left out: ${error.message}.`);
      }
    }
    if (slots.length > 0) await onVirtual(slots, values.step, dir, box, add, notes);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
  const fit = fitOf(found);
  printSheet(
    {
      words: ['scaling', ...args],
      tables: tablesOf(found, fit, { share, workers, side }),
      notes,
      data: { rows: found, fit: fit ? { kind: fit.kind, formula: fit.formula, r2: fit.r2 } : null },
    },
    values.json,
  );
  return 0;
}

/** `1,2,3`, or `off` for none; undefined when it is neither. */
function sizesOf(text: string): number[] | undefined {
  if (text === 'off') return [];
  const sizes = text.split(',').map(Number);
  return sizes.every((size) => Number.isInteger(size) && size >= 1 && size <= 1000) ? sizes : undefined;
}

/** This machine gives no namespaces or no control groups. */
class CannotIsolate extends Error {}

interface Namespaced {
  readonly sizes: readonly number[];
  readonly share: number;
  readonly workers: number;
  readonly side: number;
  readonly step: string;
  readonly dir: string;
}

async function onNamespaces(
  how: Namespaced,
  box: TimeBox,
  add: (row: Row) => void,
  notes: string[],
): Promise<void> {
  const { sizes, share, workers, dir } = how;
  const most = Math.max(...sizes);
  const number = process.pid % 256;
  const undo: (() => void | Promise<void>)[] = [];
  try {
    let lan: Lan;
    const shares: CpuShare[] = [];
    try {
      lan = makeLan(most, number);
      undo.push(() => lan.remove());
      for (let node = 1; node <= most; node++) {
        const made = makeCpuShare(`toonfleet-bench-${process.pid}-${node}`, share);
        shares.push(made);
        undo.push(() => made.remove());
      }
    } catch (error) {
      throw new CannotIsolate((error as Error).message.trim());
    }
    const running: RunningNode[] = [];
    await box.repeat(sizes.length, async (turn) => {
      const size = sizes[turn] ?? 1;
      // Nodes come one after the other; those that are not part of a fleet yet do not run beside it.
      for (let index = running.length; index < size; index++) {
        const [space, held] = [lan.nodes[index], shares[index]];
        if (!space || !held) throw new Error('there are fewer namespaces than nodes');
        const node = await startNode(index + 1, space, held, workers, dir);
        running.push(node);
        undo.push(() => node.stop());
      }
      const fleet = running.slice(0, size);
      add(await ceilingOf(fleet, turn, how, box));
    });
    if (running.length < most) notes.push('Not all sizes of namespaced fleets fitted into the time.');
  } finally {
    for (const each of undo.reverse()) {
      try {
        await each();
      } catch (error) {
        // What cannot be taken away must not keep the rest from being taken away.
        notes.push(`Left behind: ${(error as Error).message.trim()}.`);
      }
    }
  }
}

/** One node of the fleet. */
interface RunningNode {
  readonly agentUrl: string;
  heldBackS(): number;
  stop(): Promise<void>;
}

async function startNode(
  number: number,
  space: Namespace,
  held: CpuShare,
  workers: number,
  dir: string,
): Promise<RunningNode> {
  const cwd = join(dir, `node-${number}`);
  mkdirSync(cwd);
  const env = {
    TOONFLEET_LOG_LEVEL: 'warn',
    TOONFLEET_NODE__NAME: `node-${number}`,
    TOONFLEET_WORKER__COUNT: String(workers),
  };
  const place = await trialPlace(cwd, env, space.address);
  const trial: Trial = startTrial(place, {
    through: [...held.enter, ...space.enter],
    args: ['--role', 'node'],
  });
  const stop = async () => void (await trial.stop());
  try {
    await trial.ready;
    const ready = async () => {
      const answer = await fetch(place.agentUrl + INTERNAL_PATHS.node);
      const roster = nodeRosterSchema.parse(await answer.json());
      return roster.workers.filter(({ state }) => state === 'ready').length;
    };
    await until(
      async () => (await ready()) >= workers,
      READY_WITHIN_MS,
      () => `node ${number} did not get its workers ready:\n${trial.output()}`,
    );
  } catch (error) {
    await stop();
    throw error;
  }
  return { agentUrl: place.agentUrl, heldBackS: () => held.heldBackS(), stop };
}

async function ceilingOf(
  fleet: readonly RunningNode[],
  turn: number,
  { workers, side, step, dir }: Namespaced,
  box: TimeBox,
): Promise<Row> {
  const cwd = join(dir, `front-${turn}`);
  mkdirSync(cwd);
  const agents = fleet.map(({ agentUrl }) => agentUrl);
  const place = await trialPlace(cwd, {
    TOONFLEET_LOG_LEVEL: 'warn',
    TOONFLEET_NODES: JSON.stringify(agents.map((agent) => ({ agent }))),
  });
  const front = startTrial(place, { args: ['--role', 'balancer'] });
  try {
    await front.ready;
    await until(
      async () => (await fetch(`${place.url}/ready`)).status === 200,
      READY_WITHIN_MS,
      () => `the balancer sees no worker:\n${front.output()}`,
    );
    const heldBefore = fleet.map((node) => node.heldBackS());
    const run = await loadRun(
      place.url,
      [
        ...[
          '--sizes',
          `${side}x${side}`,
          '--styles',
          'meadow',
          '--max-side',
          String(side),
          '--format',
          'jpeg',
        ],
        ...['--agents', agents.join(','), '--admin', place.adminUrl],
        // The agents see the whole machine's CPU; what a node may use is held by its quota.
        ...['--cpu', 'off', '--memory', 'off', '--step', step, '--confirm', '20s', '--requests', '80'],
      ],
      { env: place.env, json: join(cwd, 'run.json'), limitMs: box.leftMs + 60_000 },
    );
    const heldBack = fleet.map((node, index) => node.heldBackS() - (heldBefore[index] ?? 0));
    return {
      ...rowOf(run, 'namespaced', fleet.length, fleet.length * workers),
      heldBack: heldBack.reduce((sum, s) => sum + s, 0) / fleet.length / run.seconds / workers,
    };
  } finally {
    await front.stop();
  }
}

async function onVirtual(
  sizes: readonly number[],
  step: string,
  dir: string,
  box: TimeBox,
  add: (row: Row) => void,
  notes: string[],
): Promise<void> {
  const done = await box.repeat(sizes.length, async (turn) => {
    const slots = sizes[turn] ?? 1;
    const nodes = Math.ceil(slots / SLOTS_PER_VIRTUAL_NODE);
    const simulatedQps = simulatedOf(slots);
    const fleet = await startVirtualFleet({ workers: slots, nodes, service: VIRTUAL_SERVICE, seed: 1 });
    try {
      const behind = { ...fleet, slots: 1, deadlineMs: 60_000, serviceMs: VIRTUAL_MEAN_MS };
      const front = await startFront('toonfleet fifo', behind);
      try {
        const run = await loadRun(
          front.url,
          [
            ...['--sizes', `${VIRTUAL_SIDE}x${VIRTUAL_SIDE}`, '--agents', 'off', '--admin', 'off'],
            ...['--nodes', String(nodes), '--slots', String(slots), '--step', step, '--confirm', '20s'],
            ...['--start-qps', ((0.6 * slots * 1000) / VIRTUAL_MEAN_MS).toFixed(2)],
          ],
          { env: process.env, json: join(dir, `virtual-${slots}.json`), limitMs: box.leftMs + 60_000 },
        );
        add({ ...rowOf(run, 'virtual', nodes, slots), simulatedQps });
      } finally {
        await front.stop();
      }
    } finally {
      fleet.kill();
    }
  });
  if (done < sizes.length)
    notes.push(`Virtual fleets of ${sizes.slice(done).join(', ')} slots did not fit into the time.`);
}

/** The ceiling that the balancer's own queue has in simulated time, from the service time that the sleepers are told. */
function simulatedOf(slots: number): number | null {
  const service = parseServiceTime(VIRTUAL_SERVICE);
  if (!service) throw new Error(`${VIRTUAL_SERVICE} is no service time`);
  return simulatedCeiling(
    {
      // Fifty slots do not divide by four; for one central line it is all the same where a slot stands.
      fleet: { nodes: slots, slotsPerNode: 1 },
      // As long for a large fleet as for a small one: in a short time a queue can grow without reaching the limit.
      pictures: (SIMULATED_SECONDS * 1000 * slots) / VIRTUAL_MEAN_MS,
      service: (random) => service(1, random),
      overheadMs: 2,
      queueLength: 1000,
      deadlineMs: 60_000,
      seed: 1,
    },
    VIRTUAL_MEAN_MS,
    P95_MS,
  );
}

function rowOf(run: Run, kind: Row['kind'], nodes: number, slots: number): Row {
  const confirmed = run.steps.filter(({ purpose, verdict }) => purpose === 'confirm' && verdict === 'met');
  return {
    kind,
    nodes,
    slots,
    verdict: run.verdict,
    sentence: run.sentence,
    ceilingQps: run.ceiling_qps,
    confirmedQps: run.confirmed_qps,
    p95Ms: confirmed.at(-1)?.latency_ms?.p95 ?? null,
    seconds: run.seconds,
    simulatedQps: null,
    heldBack: null,
  };
}

/** As `toonfleet capacity` would fit the namespaced nodes; undefined when there are none. */
function fitOf(rows: readonly Row[]): Fit | undefined {
  const points = rows.flatMap(({ kind, nodes, slots, ceilingQps }): Measured[] =>
    kind === 'namespaced' && ceilingQps !== null
      ? [{ source: `${nodes} nodes`, nodes, slots, ceilingQps }]
      : [],
  );
  return points.length === 0 ? undefined : fitCeilings(points);
}

function tablesOf(
  rows: readonly Row[],
  fit: Fit | undefined,
  { share, workers, side }: { share: number; workers: number; side: number },
): Table[] {
  const real = rows.filter(({ kind }) => kind === 'namespaced');
  const virtual = rows.filter(({ kind }) => kind === 'virtual');
  const answer = ({ ceilingQps, confirmedQps, p95Ms, verdict }: Row) => [
    ceilingQps === null ? verdict : rate(ceilingQps),
    confirmedQps === null ? '–' : rate(confirmedQps),
    p95Ms === null ? '–' : `${(p95Ms / 1000).toFixed(2)} s`,
  ];
  const smallest = (of: readonly Row[]) => [...of].sort((a, b) => a.slots - b.slots)[0];
  const perSlot = (row: Row | undefined) =>
    row?.ceilingQps == null ? undefined : row.ceilingQps / row.slots;
  const scaling = (row: Row, of: readonly Row[]) => {
    const [one, own] = [perSlot(smallest(of)), perSlot(row)];
    return one === undefined || own === undefined ? '–' : percent(own / one);
  };
  const tables: Table[] = [];
  if (real.length > 0)
    tables.push({
      title: `**Namespaced** nodes: PM2, agent and ${workers} ${workers === 1 ? 'worker' : 'workers'} each, held to ${share} of a core, embedded default at ${side} px${fit ? `; fit of \`capacity\`: ${fit.kind}, ${fit.formula}, R² ${fit.r2?.toFixed(3) ?? 'not put to a test'}` : ''}`,
      head: [
        'nodes',
        'ceiling',
        'confirmed',
        'P95 there',
        'of linear growth',
        'by the fit',
        'held back by the quota',
      ],
      rows: real.map((row) => [
        String(row.nodes),
        ...answer(row),
        scaling(row, real),
        fit ? rate(fit.ceilingOf(row.nodes)) : '–',
        percent(row.heldBack),
      ]),
    });
  if (virtual.length > 0)
    tables.push({
      title: `**Virtual** workers: one slot each, sleep exponentially, ${VIRTUAL_MEAN_MS} ms on average`,
      head: [
        'slots',
        'ceiling',
        'confirmed',
        'P95 there',
        'of linear growth',
        'simulated',
        'simulation’s error',
      ],
      rows: virtual.map((row) => [
        String(row.slots),
        ...answer(row),
        scaling(row, virtual),
        row.simulatedQps === null ? '–' : rate(row.simulatedQps),
        row.simulatedQps === null || row.ceilingQps === null
          ? '–'
          : signed(row.simulatedQps / row.ceilingQps - 1),
      ]),
    });
  return tables;
}

const signed = (share: number) => `${share >= 0 ? '+' : '−'}${(Math.abs(share) * 100).toFixed(1)} %`;
