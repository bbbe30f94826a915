// `npm run bench ceiling`: how well plan `ceiling` repeats itself, on sleeping workers and on real ones. The speed of a
// real machine drifts, so each ceiling of real workers also stands as a share of what the bare model did on the same
// cores right before and after.

import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { rate } from '../plans/plan.ts';
import type { Run } from '../result.ts';
import { bareRate } from './bare.ts';
import { mean, plusMinus, spread } from './figures.ts';
import { loadRun } from './load-run.ts';
import { benchModel, TINY } from './model.ts';
import { startFront } from './rivals.ts';
import { startService } from './service.ts';
import { printSheet, type Table } from './sheet.ts';
import { TimeBox } from './time-box.ts';
import { startVirtualFleet } from './virtual-fleet.ts';

const KINDS = ['virtual', 'embedded', 'tiny'] as const;
type Kind = (typeof KINDS)[number];

const USAGE = `Usage: npm run bench ceiling -- [--on virtual,embedded,tiny] [--runs 5] [--step 12s] [--side 512] [--minutes 30] [--json]

Runs plan "ceiling" several times and tells how far the answers lie apart (the goal is ± 5 %).

  virtual    four one-slot workers that sleep 100 ms, behind the balancer
  embedded   the whole service on this machine with its default style
  tiny       the same with ${TINY} of TOONFLEET_TEST_ASSETS (default ../shared)

Real ceilings are also divided by the bare model's rate, measured right before and after each. Starts no run that would
not end within --minutes, and says so.

Examples:
  npm run bench ceiling
  npm run bench ceiling -- --on embedded --runs 3 --minutes 8
`;

const GOAL = 0.05;
const BARE_SECONDS = 6;
const VIRTUAL = { workers: 4, nodes: 2, ms: 100, side: 256 } as const;

/** One run of the plan. */
interface Attempt {
  readonly verdict: Run['verdict'];
  readonly sentence: string;
  readonly ceilingQps: number | null;
  readonly confirmedQps: number | null;
  readonly p95Ms: number | null;
  /** Pictures a second of the bare model, the mean of before and after; null for workers that sleep. */
  readonly bareQps: number | null;
  readonly seconds: number;
}

interface Series {
  readonly kind: Kind;
  readonly title: string;
  readonly attempts: readonly Attempt[];
}

/** Runs the bench; returns the exit code. */
export async function benchCeiling(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      on: { type: 'string', default: KINDS.join(',') },
      runs: { type: 'string', default: '5' },
      step: { type: 'string', default: '12s' },
      side: { type: 'string', default: '512' },
      minutes: { type: 'string', default: '30' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const asked = values.on.split(',');
  const kinds = KINDS.filter((kind) => asked.includes(kind));
  const [runs, side, minutes] = [Number(values.runs), Number(values.side), Number(values.minutes)];
  const wrong = kinds.length < asked.length || !(runs >= 1) || !(side >= 16) || !(minutes > 0);
  if (values.help || wrong) {
    (wrong ? process.stderr : process.stdout).write(USAGE);
    return wrong ? 2 : 0;
  }
  const box = new TimeBox(minutes);
  const all: Series[] = [];
  const notes: string[] = [];
  for (const [index, kind] of kinds.entries()) {
    const part = box.share(kinds.length - index);
    const how: How = { runs, step: values.step, side, box: part };
    const series = kind === 'virtual' ? await onVirtual(how) : await onReal(kind, how);
    if (!series) {
      notes.push(`${kind}: there is no ${TINY} in TOONFLEET_TEST_ASSETS, left out.`);
      continue;
    }
    all.push(series);
    if (series.attempts.length < runs)
      notes.push(`${series.title}: ${series.attempts.length} of ${runs} runs fitted into the time.`);
  }
  printSheet(
    { words: ['ceiling', ...args], tables: tablesOf(all), notes, data: { series: all } },
    values.json,
  );
  return 0;
}

interface How {
  readonly runs: number;
  readonly step: string;
  readonly side: number;
  readonly box: TimeBox;
}

async function onVirtual({ runs, step, box }: How): Promise<Series> {
  const { workers, nodes, ms, side } = VIRTUAL;
  const dir = mkdtempSync(join(tmpdir(), 'toonfleet-bench-'));
  const fleet = await startVirtualFleet({ workers, nodes, service: `${ms}ms`, seed: 1 });
  try {
    const front = await startFront('toonfleet cost', {
      ...fleet,
      slots: 1,
      deadlineMs: 60_000,
      serviceMs: ms,
    });
    const attempts: Attempt[] = [];
    const startQps = (0.6 * workers * 1000) / ms;
    try {
      await box.repeat(runs, async (turn) => {
        const nobody = ['--agents', 'off', '--admin', 'off', '--slots', String(workers)];
        const args = [...planArgs({ step, side, startQps }), ...nobody];
        const json = join(dir, `${turn}.json`);
        const run = await loadRun(front.url, args, { env: process.env, json, limitMs: box.leftMs + 60_000 });
        attempts.push(attemptOf(run, null));
        tell('virtual', attempts);
      });
    } finally {
      await front.stop();
    }
    return {
      kind: 'virtual',
      title: `**virtual**: ${workers} workers that sleep ${ms} ms (at most ${(workers * 1000) / ms}/s)`,
      attempts,
    };
  } finally {
    fleet.kill();
    rmSync(dir, { recursive: true, force: true });
  }
}

async function onReal(
  kind: 'embedded' | 'tiny',
  { runs, step, side, box }: How,
): Promise<Series | undefined> {
  const model = benchModel(kind === 'tiny' ? TINY : kind);
  if (!model) return undefined;
  const dir = mkdtempSync(join(tmpdir(), 'toonfleet-bench-'));
  const service = await startService(dir, model.added ? model : undefined);
  try {
    const bare = () => bareRate(model.file, BARE_SECONDS, [[side, side]], service.workers);
    const attempts: Attempt[] = [];
    let before = await bare();
    await box.repeat(runs, async (turn) => {
      const style = ['--styles', model.style, '--max-side', String(side), '--format', 'jpeg'];
      const nodes = ['--agents', service.place.agentUrl, '--admin', service.place.adminUrl];
      // CPU and memory are other questions; here it is only asked whether the same answer comes again.
      const slo = ['--cpu', 'off', '--memory', 'off'];
      const args = [...planArgs({ step, side, startQps: before / 2 }), ...style, ...nodes, ...slo];
      const json = join(dir, `${turn}.json`);
      const limitMs = box.leftMs + 60_000;
      const run = await loadRun(service.url, args, { env: service.place.env, json, limitMs });
      const after = await bare();
      attempts.push(attemptOf(run, (before + after) / 2));
      before = after;
      tell(kind, attempts);
    });
    return {
      kind,
      title: `**real**: ${model.title}, ${side} px, ${service.workers} workers on ${availableParallelism()} cores`,
      attempts,
    };
  } finally {
    await service.stop();
    rmSync(dir, { recursive: true, force: true });
  }
}

function planArgs({ step, side, startQps }: { step: string; side: number; startQps: number }): string[] {
  const search = { step, confirm: '20s', requests: '100', 'start-qps': startQps.toFixed(2) };
  return [
    '--sizes',
    `${side}x${side}`,
    ...Object.entries(search).flatMap(([name, value]) => [`--${name}`, value]),
  ];
}

function attemptOf(run: Run, bareQps: number | null): Attempt {
  const confirmed = run.steps.filter(({ purpose, verdict }) => purpose === 'confirm' && verdict === 'met');
  return {
    verdict: run.verdict,
    sentence: run.sentence,
    ceilingQps: run.ceiling_qps,
    confirmedQps: run.confirmed_qps,
    p95Ms: confirmed.at(-1)?.latency_ms?.p95 ?? null,
    bareQps,
    seconds: run.seconds,
  };
}

function tell(kind: Kind, attempts: readonly Attempt[]): void {
  process.stderr.write(`${kind}, run ${attempts.length}: ${attempts.at(-1)?.sentence}\n`);
}

function tablesOf(all: readonly Series[]): Table[] {
  const found = ({ attempts }: Series) =>
    attempts.flatMap(({ ceilingQps, bareQps }) =>
      ceilingQps === null ? [] : [{ ceilingQps, share: bareQps === null ? null : ceilingQps / bareQps }],
    );
  const summary = all.map((series) => {
    const answers = found(series);
    const shares = answers.flatMap(({ share }) => (share === null ? [] : [share]));
    const ceilings = answers.map(({ ceilingQps }) => ceilingQps);
    // A machine that drifts moves the ceiling and the bare model alike, so real workers are judged by their quotient.
    const judged = shares.length > 0 ? spread(shares) : spread(ceilings);
    return [
      series.title,
      `${answers.length} of ${series.attempts.length}`,
      answers.length === 0 ? '–' : `${rate(mean(ceilings))} ${plusMinus(spread(ceilings))}`,
      shares.length === 0 ? '–' : `${mean(shares).toFixed(3)} ${plusMinus(spread(shares))}`,
      answers.length < 2 ? 'too few runs' : judged <= GOAL ? 'yes' : 'no',
    ];
  });
  const each = all.flatMap(({ title, attempts }) =>
    attempts.map((attempt, index) => [
      title,
      String(index + 1),
      attempt.ceilingQps === null ? attempt.verdict : rate(attempt.ceilingQps),
      attempt.confirmedQps === null ? '–' : rate(attempt.confirmedQps),
      attempt.p95Ms === null ? '–' : `${attempt.p95Ms.toFixed(0)} ms`,
      attempt.bareQps === null ? '–' : rate(attempt.bareQps),
      attempt.bareQps === null || attempt.ceilingQps === null
        ? '–'
        : (attempt.ceilingQps / attempt.bareQps).toFixed(3),
      `${attempt.seconds.toFixed(0)} s`,
    ]),
  );
  return [
    {
      title: `Repeatability of plan \`ceiling\` (half of the range over the mean; the goal is ${plusMinus(GOAL)})`,
      head: ['workers', 'runs with an answer', 'ceiling', 'ceiling ÷ bare model', 'within the goal'],
      rows: summary,
    },
    {
      title: 'Each run',
      head: ['workers', 'run', 'ceiling', 'confirmed', 'P95 there', 'bare model', 'ceiling ÷ bare', 'took'],
      rows: each,
    },
  ];
}
