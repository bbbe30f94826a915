// `npm run bench balancer`: this balancer, nginx and HAProxy in front of the same workers, on the same traces, round by
// round, so that a machine that drifts drifts for all. Sleepers show what a balancer does with slots and say nothing
// about drawing; `--real` is the half with real workers. Generator, workers and balancer share the machine, so figures
// compare within one run only.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { extname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { filledPhoto } from '../pictures.ts';
import { ordinarily, raisePriority } from '../priority.ts';
import {
  BESIDE,
  type Ideal,
  idealOf,
  KILLED,
  LOADS,
  OVERLOADS,
  overloadSeconds,
  PARTS,
  type Part,
  Seen,
  tablesOf,
} from './balancer-tables.ts';
import { closedLoop, openLoop, slowUploaders } from './clients.ts';
import { percentile } from './figures.ts';
import { available, type Contender, contenders, type Front, startFront } from './rivals.ts';
import { printSheet } from './sheet.ts';
import { realWorkers, type Stage, sleepers, UPLOAD_BYTES } from './stage.ts';
import { TimeBox } from './time-box.ts';
import { type Mix, SLEEPERS_MIX, traceOf } from './trace.ts';

const USAGE = `Usage: npm run bench balancer -- [--real] [--quick] [--minutes 45] [--rounds 3] [--seconds N] [--only NAMES]
                                 [--part PARTS] [--deadline MS] [--json]

Eight one-slot virtual workers, 90 % of the pictures take ${SLEEPERS_MIX.smallMs} ms and 10 % ${SLEEPERS_MIX.largeMs} ms, uploads of 200 KB with bytes of
their own, Poisson arrivals, clients who give up at their deadline of 1 s (5 s before real workers). Tables of: latency at 70, 80 and 90 % load,
also as ratios to the ideal and to tuned HAProxy; goodput and refusals at 1.3, 2 and 3 times the capacity; 20 slow
uploaders beside; half of the workers killed; the cost of passing 200 KB on; and the goals.
Needs nginx and haproxy in the PATH for their rows.

  --real        real workers under PM2 instead: the embedded default, photos of 256 and 1024 px; their capacity is measured
                before each round, and loads are shares of it
  --minutes N   how long it may take; the length of the runs follows from it, and no round is begun that would not end
  --rounds N    rounds with seeds of their own, pooled
  --seconds N   length of one run at one load, instead of what follows from --minutes
  --only NAMES  of ${contenders.join(', ')}
  --part PARTS  of latency, overload, trouble, passing
  --deadline MS how long clients wait
  --quick       one short round of toonfleet, tuned HAProxy and nginx: for a look and not for a claim

Examples:
  npm run bench balancer
  npm run bench balancer -- --real --minutes 60
  npm run bench balancer -- --quick
`;

/** Of a quick run. */
const QUICK: readonly Contender[] = ['toonfleet cost', 'toonfleet fifo', 'haproxy tuned', 'nginx nodes'];
const QUICK_SECONDS = 4;
const SHORTEST_SECONDS = 3;
/** What a contender's round costs besides its runs, s: starting, warming up, passing on. */
const AROUND_SECONDS = 40;
/** What each part of a round takes, in runs of full length. */
const LENGTHS: Readonly<Record<Part, number>> = {
  latency: LOADS.length,
  overload: OVERLOADS.length / 2,
  trouble: 3,
  passing: 0,
};
const SLOW_UPLOADERS = 20;

const NO_OP = join(import.meta.dirname, `no-op${extname(import.meta.filename)}`);

/** Runs the bench; returns the exit code. */
export async function benchBalancer(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      real: { type: 'boolean', default: false },
      quick: { type: 'boolean', default: false },
      minutes: { type: 'string', default: '45' },
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      only: { type: 'string' },
      part: { type: 'string', default: PARTS.join(',') },
      deadline: { type: 'string' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  const asked = values.only?.split(',').map((name) => name.trim()) ?? (values.quick ? QUICK : contenders);
  const askedParts = values.part.split(',').map((name) => name.trim());
  const parts = PARTS.filter((part) => askedParts.includes(part));
  const unknown = [
    ...asked.filter((name) => !contenders.some((contender) => contender === name)),
    ...askedParts.filter((name) => !PARTS.some((part) => part === name)),
  ];
  const rounds = Number(values.rounds ?? (values.quick ? 1 : 3));
  const minutes = Number(values.minutes);
  const wanted = contenders.filter((name) => asked.includes(name));
  const chosen = wanted.filter(available);
  const runs = Math.max(
    1,
    parts.reduce((sum, part) => sum + LENGTHS[part], 0),
  );
  const each = (minutes * 60) / rounds / Math.max(1, chosen.length);
  const fitting = Math.max(SHORTEST_SECONDS, Math.floor((each - AROUND_SECONDS) / runs));
  const seconds = Number(values.seconds ?? (values.quick ? QUICK_SECONDS : fitting));
  if (
    unknown.length > 0 ||
    !(rounds >= 1) ||
    !(seconds >= 1) ||
    !(minutes > 0) ||
    !(Number(values.deadline ?? 1) > 0)
  ) {
    process.stderr.write(`${unknown.map((name) => `There is no "${name}".\n`).join('')}${USAGE}`);
    return 2;
  }
  const notes = wanted
    .filter((name) => !chosen.includes(name))
    .map((name) => `${name}: not installed, left out.`);
  raisePriority();
  const stage = await (values.real ? realWorkers() : sleepers());
  const seen = new Map(chosen.map((name) => [name, new Seen()]));
  const ideals: Ideal[] = [];
  try {
    const done = await new TimeBox(minutes).repeat(rounds, async (turn) => {
      const mix = await stage.mix();
      const deadlineMs = Number(values.deadline ?? stage.deadlineMs);
      const plan: Plan = { stage, parts, mix, deadlineMs, seconds, seed: turn + 1 };
      ideals.push(idealOf({ ...plan, slots: stage.slots }));
      if (values.real)
        notes.push(
          `Round ${turn + 1}: a small picture keeps a slot for ${mix.smallMs.toFixed(0)} ms, a large one for ${mix.largeMs.toFixed(0)} ms; deadline ${plan.deadlineMs} ms.`,
        );
      for (const [name, into] of seen) {
        process.stderr.write(`${name}, round ${turn + 1} of ${rounds}, ${seconds} s at each load\n`);
        await measure(name, into, plan);
      }
    });
    if (done < rounds) notes.push(`${done} of ${rounds} rounds fitted into the time.`);
    notes.push(
      `${done === 1 ? 'One round' : `${done} rounds with seeds of their own, pooled, each`} of ${seconds} s at each load.`,
    );
  } finally {
    await stage.close();
  }
  const { tables, notes: found, data } = tablesOf(seen, ideals, stage.title, parts);
  printSheet({ words: ['balancer', ...args], tables, notes: [...notes, ...found], data }, values.json);
  return 0;
}

/** One round. */
interface Plan {
  readonly stage: Stage;
  readonly parts: readonly Part[];
  readonly mix: Mix;
  readonly deadlineMs: number;
  readonly seconds: number;
  readonly seed: number;
}

/** A front with its workers, warmed up. */
interface Play {
  readonly front: Front;
  readonly killHalf: () => void;
  /** Holds a load of the round's seed. */
  drive(load: number, seconds: number): ReturnType<typeof openLoop>;
}

async function measure(name: Contender, into: Seen, plan: Plan): Promise<void> {
  const { parts, seconds, deadlineMs } = plan;
  if (parts.includes('latency'))
    await play(name, plan, async ({ drive }) => {
      for (const load of LOADS) into.latency(load).push(...(await drive(load, seconds)));
    });
  if (parts.includes('trouble'))
    await play(name, plan, async ({ front, killHalf, drive }) => {
      into.alone.push(...(await drive(BESIDE, seconds)));
      const uploaders = slowUploaders(front.url, SLOW_UPLOADERS, UPLOAD_BYTES);
      await sleep(500);
      into.slow.push(...(await drive(BESIDE, seconds)));
      uploaders.stop();
      await sleep(1000);
      const killing = setTimeout(killHalf, (seconds * 1000) / 2);
      into.killed.push(...(await drive(KILLED, seconds)));
      clearTimeout(killing);
    });
  // Each with fresh workers: what never refuses still has the backlog of the run before.
  if (parts.includes('overload'))
    for (const load of OVERLOADS)
      await play(name, plan, async ({ drive }) => {
        into.overload(load).push(...(await drive(load, overloadSeconds(seconds, deadlineMs))));
      });
  if (parts.includes('passing')) await measurePassing(name, into, Math.min(5, seconds));
}

async function play(
  name: Contender,
  { stage, mix, deadlineMs, seed }: Plan,
  run: (play: Play) => Promise<void>,
): Promise<void> {
  const cast = await stage.cast(seed);
  try {
    const { slots, photos } = stage;
    const front = await startFront(name, { ...cast, slots: 1, deadlineMs, serviceMs: mix.largeMs });
    const drive = (load: number, seconds: number, trace = seed) =>
      openLoop(front.url, traceOf(load, slots, seconds, trace, mix), photos, deadlineMs);
    try {
      // Code and connections are warm then, and what it learns is learnt.
      await drive(0.5, 2, 99);
      await run({ front, killHalf: () => cast.killHalf(), drive });
    } finally {
      await front.stop();
    }
  } finally {
    await cast.leave();
  }
}

/** What it costs to pass 200 KB on: one client for the added time, eight for the rate, in front of a worker that only reads. */
async function measurePassing(name: Contender, into: Seen, seconds: number): Promise<void> {
  const { program, args } = ordinarily([process.execPath, ...process.execArgv, NO_OP]);
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const direct = `http://127.0.0.1:${Number(line.toString())}`;
  const behind = { urls: [direct], sharedUrls: [direct], slots: 16, deadlineMs: 60_000, serviceMs: 1000 };
  const front = await startFront(name, behind);
  const upload = { photo: await filledPhoto(200, UPLOAD_BYTES), large: false };
  const photo = () => upload;
  try {
    await closedLoop(front.url, photo, 8, 1);
    // Alternating, so that both meet the same machine.
    for (let turn = 0; turn < 3; turn++) {
      const bare = await closedLoop(direct, photo, 1, seconds / 6);
      const through = await closedLoop(front.url, photo, 1, seconds / 6);
      into.passing.addedMs.push(percentile(through, 50) - percentile(bare, 50));
    }
    const cpuBefore = front.cpuMs();
    const all = await closedLoop(front.url, photo, 8, seconds);
    into.passing.perSecond.push(all.length / seconds);
    into.passing.cpuMs.push((front.cpuMs() - cpuBefore) / all.length);
  } finally {
    await front.stop();
    child.kill('SIGKILL');
  }
}
