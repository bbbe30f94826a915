// `npm run bench plans`: every plan of the load test in sequence on a fleet of this machine that is started for it, with
// the reports kept. What it measures is this machine; what it shows is that each plan works to its end.

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { duration, percent, qps } from '../report/words.ts';
import type { Run, Step } from '../result.ts';
import { loadRun } from './load-run.ts';
import { type Service, startService } from './service.ts';
import { printSheet, type Table } from './sheet.ts';
import { TimeBox } from './time-box.ts';

/** The articles' tables of users. */
const USERS = ['5,10,20,30', '20,50,80', '50,100,200'] as const;
/** The soak comes before the reload: fresh processes grow for a while, and it would see that. */
const NEEDS_CEILING = ['stress', 'spike', 'soak', 'reload'] as const;
const NAMES = ['ceiling', 'steps', ...NEEDS_CEILING] as const;
type Name = (typeof NAMES)[number];

const USAGE = `Usage: npm run bench plans -- [--plans ${NAMES.join(',')}] [--seconds 20] [--reload 60s]
                              [--soak 2m] [--side 512] [--ceiling N] [--out out/plans] [--minutes 30] [--json]

Starts toonfleet on this machine with its embedded styles and runs the plans one after the other:
"ceiling"; "steps" with ${USERS.join(' and with ')} users; "stress" with a deadline of 5 s; "spike"; "soak"; "reload"
with the real "toonfleet reload". Their JSON and HTML reports stay in --out.

  --seconds N   length of one step of steps and stress
  --ceiling N   for the plans that need one, instead of what "ceiling" finds

Starts no plan after --minutes, and says which.

Examples:
  npm run bench plans
  npm run bench plans -- --plans ceiling,reload --reload 5m
`;

/** One run of one plan. */
interface Task {
  readonly name: Name;
  readonly title: string;
  readonly args: readonly string[];
}

/** Runs the bench; returns the exit code. */
export async function benchPlans(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      plans: { type: 'string', default: NAMES.join(',') },
      seconds: { type: 'string', default: '20' },
      reload: { type: 'string', default: '60s' },
      soak: { type: 'string', default: '2m' },
      side: { type: 'string', default: '512' },
      ceiling: { type: 'string' },
      out: { type: 'string', default: 'out/plans' },
      minutes: { type: 'string', default: '30' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const asked = values.plans.split(',');
  const names = NAMES.filter((name) => asked.includes(name));
  const [seconds, side, minutes] = [Number(values.seconds), Number(values.side), Number(values.minutes)];
  const wrong = names.length < asked.length || !(seconds >= 1) || !(side >= 16) || !(minutes > 0);
  if (values.help || wrong) {
    (wrong ? process.stderr : process.stdout).write(USAGE);
    return wrong ? 2 : 0;
  }
  const out = resolve(values.out);
  mkdirSync(out, { recursive: true });
  const tasks = names.flatMap((name) => tasksOf(name, { ...values, seconds }));
  const dir = mkdtempSync(join(tmpdir(), 'toonfleet-bench-'));
  const box = new TimeBox(minutes);
  const done: { readonly task: Task; readonly run: Run }[] = [];
  const notes: string[] = [];
  let ceiling = values.ceiling;
  const service = await startService(dir, undefined);
  try {
    for (const task of tasks) {
      if (box.leftMs === 0) {
        notes.push(`${task.title}: did not fit into the time.`);
        continue;
      }
      const needs = NEEDS_CEILING.some((name) => name === task.name);
      if (needs && ceiling === undefined) {
        notes.push(`${task.title}: left out, since no ceiling was found; give one with --ceiling.`);
        continue;
      }
      const known = needs && ceiling !== undefined ? ['--ceiling', ceiling] : [];
      const report = join(out, task.title.replace(/\W+/g, '-'));
      const run = await loadRun(service.url, [...fleetArgs(service, side), ...task.args, ...known], {
        env: service.place.env,
        json: `${report}.json`,
        html: `${report}.html`,
        limitMs: box.leftMs + 60_000,
      });
      process.stderr.write(`${task.title}: ${run.verdict}: ${run.sentence}\n`);
      if (task.name === 'ceiling' && run.ceiling_qps !== null) ceiling ??= String(run.ceiling_qps);
      done.push({ task, run });
    }
  } finally {
    await service.stop();
    rmSync(dir, { recursive: true, force: true });
  }
  const runs = done.map(({ task, run }) => ({
    title: task.title,
    ...run,
    steps: run.steps.map(withoutSeconds),
  }));
  printSheet(
    {
      words: ['plans', ...args],
      tables: tablesOf(done),
      notes: [...notes, `Reports in ${values.out}.`],
      data: { runs },
    },
    values.json,
  );
  return 0;
}

/** What every second was like stands in the reports. */
const withoutSeconds = ({ over_time: _, ...step }: Step) => step;

/** What is the same for all plans: what is sent, and whom to ask about the nodes. */
function fleetArgs({ place }: Service, side: number): string[] {
  const photos = [
    '--sizes',
    `${side}x${side}`,
    '--max-side',
    String(side),
    '--styles',
    'meadow',
    '--format',
    'jpeg',
  ];
  return [...photos, '--agents', place.agentUrl, '--admin', place.adminUrl];
}

function tasksOf(
  name: Name,
  { seconds, reload, soak }: { readonly seconds: number; readonly reload: string; readonly soak: string },
): Task[] {
  const plan = (more: readonly string[], title: string = name): Task[] => [
    { name, title, args: ['--plan', name, ...more] },
  ];
  switch (name) {
    case 'ceiling':
      // A node that runs at its ceiling uses all of its CPU; the clause would end the search below it.
      return plan(['--step', '12s', '--confirm', '20s', '--requests', '120', '--cpu', 'off']);
    case 'steps':
      return USERS.flatMap((users) =>
        plan(['--users', users, '--duration', `${seconds}s`, '--cpu', 'off'], `steps ${users}`),
      );
    case 'stress':
      return plan(['--deadline', '5s', '--duration', `${seconds}s`]);
    case 'spike':
      return plan([]);
    case 'reload':
      return plan(['--duration', reload]);
    case 'soak':
      return plan(['--duration', soak, '--cpu', 'off']);
  }
}

function tablesOf(done: readonly { readonly task: Task; readonly run: Run }[]): Table[] {
  const of = (name: Name) => done.filter(({ task }) => task.name === name).flatMap(({ run }) => run.steps);
  const tables: Table[] = [
    {
      title: 'Plans',
      head: ['plan', 'verdict', 'answer', 'requests', 'took'],
      rows: done.map(({ task, run }) => [
        task.title,
        run.verdict,
        run.sentence,
        String(run.steps.reduce((sum, { requests }) => sum + requests, 0)),
        `${run.seconds.toFixed(0)} s`,
      ]),
    },
  ];
  if (of('steps').length > 0)
    tables.push({
      title: 'Users who each wait for their answer (plan `steps`)',
      head: ['users', 'QPS', 'mean', 'P95', 'errors', 'CPU'],
      rows: of('steps').map((step) => [
        String(step.users),
        qps(step.achieved_qps),
        duration(step.latency_ms?.mean),
        duration(step.latency_ms?.p95),
        percent(step.error_rate),
        percent(step.cpu),
      ]),
    });
  if (of('stress').length > 0)
    tables.push({
      title: 'Overload (plan `stress`, deadline 5 s)',
      head: ['load', 'offered', 'pictures/s', 'P50 / P99', 'refused', 'refusals P50 / P95', 'failed'],
      rows: of('stress').map((step) => [
        step.label,
        qps(step.offered_qps),
        qps(step.achieved_qps),
        `${duration(step.latency_ms?.p50)} / ${duration(step.latency_ms?.p99)}`,
        String(step.shed),
        step.refusal_ms === null
          ? '–'
          : `${duration(step.refusal_ms.p50)} / ${duration(step.refusal_ms.p95)}`,
        String(step.failed + step.wrong),
      ]),
    });
  return tables;
}
