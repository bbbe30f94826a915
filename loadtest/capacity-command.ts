// `toonfleet capacity`: measured ceilings and a demand in, a fleet out, with all that it rests on.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { loadSettings } from '../config/load.ts';
import { parseDuration } from '../config/units.ts';
import {
  ceilingAt,
  type Demand,
  EXTRAPOLATION_LIMIT,
  type Fit,
  fitCeilings,
  type Measured,
  type Plan,
  planFleet,
} from './capacity.ts';
import { UsageError } from './options.ts';
import { duration, percent, qps } from './report/words.ts';
import { type Run, runSchema, type Step } from './result.ts';
import { type Simulation, serviceLike, simulate, simulatedCeiling } from './simulation.ts';

/** Where a confirmed ceiling is kept for the capacity plan, inside data_dir. */
export const CEILINGS_DIR = 'ceilings';

const USAGE = `Usage: toonfleet capacity --target-qps N [--p95 2s] [options]

Tells how many VMs a load needs, from ceilings that "toonfleet loadtest" measured.

Examples:
  toonfleet loadtest http://127.0.0.1:8080 --p95 2s && toonfleet capacity --target-qps 50 --p95 2s
  toonfleet capacity --target-qps 50 --p95 2s --from one-node.json --from two-nodes.json --zones 2
  toonfleet capacity --target-qps 50 --from one-node.json --ms-per-picture 900 --simulate

  --target-qps N         pictures a second at the peak
  --p95 2s               within which they must come back (default: what the ceilings were judged by)
  --from FILE            a ceiling's JSON; may be repeated (default: those that loadtest kept in data_dir)
  --nodes N              nodes of a --from file that does not tell them itself (default 1)
  --headroom 30%         of each ceiling that is kept free
  --spare 1              nodes beyond that (N+1)
  --zones N              spread over so many, and able to lose one
  --ms-per-picture MS    what if a picture took a worker so long (another model)
  --megapixels M         what if answers had so many megapixels (another size)
  --simulate             the plan through the balancer's own queue in simulated time, with its error shown
  --json                 for programs

Exit codes: 0 there is a plan; 1 no fleet carries this demand; 2 wrong usage, or no usable ceiling.
`;

/** Runs `toonfleet capacity …`. */
export async function capacityCommand(args: string[]): Promise<number> {
  if (args.length === 0 || args.includes('--help') || args.includes('-h')) {
    process.stdout.write(USAGE);
    return args.length === 0 ? 2 : 0;
  }
  try {
    return answer(readArguments(args));
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`${error.message}\nSee: toonfleet capacity --help\n`);
    return 2;
  }
}

interface Arguments {
  readonly targetQps: number;
  readonly p95Ms: number | undefined;
  readonly files: readonly string[];
  readonly nodes: number;
  readonly headroom: number;
  readonly spare: number;
  readonly zones: number;
  readonly msPerPicture: number | undefined;
  readonly megapixels: number | undefined;
  readonly simulate: boolean;
  readonly json: boolean;
}

function readArguments(args: readonly string[]): Arguments {
  const { values } = parse(args);
  const faults: string[] = [];
  const number = (
    name: string,
    text: string | undefined,
    min: number,
    whole: boolean,
  ): number | undefined => {
    if (text === undefined) return undefined;
    const value = Number(text);
    if (
      text.trim() !== '' &&
      Number.isFinite(value) &&
      value >= min &&
      (!whole || Number.isInteger(value)) &&
      (whole || value > 0)
    )
      return value;
    faults.push(
      `${name}: found "${text}"; allowed: a ${whole ? `whole number from ${min}` : 'number above 0'}`,
    );
    return undefined;
  };
  const targetQps = number('--target-qps', values['target-qps'], 0, false);
  if (values['target-qps'] === undefined) faults.push('--target-qps is missing, such as --target-qps 50');
  const p95Ms = values.p95 === undefined ? undefined : parseDuration(values.p95);
  if (values.p95 !== undefined && !p95Ms)
    faults.push(`--p95: found "${values.p95}"; allowed: a duration such as 2s`);
  const headroom = /^(\d+(?:\.\d+)?)%$/.exec(values.headroom)?.[1];
  if (headroom === undefined || Number(headroom) >= 100)
    faults.push(`--headroom: found "${values.headroom}"; allowed: a share below 100%, such as 30%`);
  const read = {
    nodes: number('--nodes', values.nodes, 1, true) ?? 1,
    spare: number('--spare', values.spare, 0, true) ?? 1,
    zones: number('--zones', values.zones, 1, true) ?? 1,
    msPerPicture: number('--ms-per-picture', values['ms-per-picture'], 0, false),
    megapixels: number('--megapixels', values.megapixels, 0, false),
  };
  if (faults.length > 0 || targetQps === undefined) throw new UsageError(faults.join('\n'));
  return {
    ...read,
    targetQps,
    p95Ms,
    files: values.from.length > 0 ? values.from : keptCeilings(),
    headroom: Number(headroom) / 100,
    simulate: values.simulate,
    json: values.json,
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        'target-qps': { type: 'string' },
        p95: { type: 'string' },
        from: { type: 'string', multiple: true, default: [] as string[] },
        nodes: { type: 'string', default: '1' },
        headroom: { type: 'string', default: '30%' },
        spare: { type: 'string', default: '1' },
        zones: { type: 'string', default: '1' },
        'ms-per-picture': { type: 'string' },
        megapixels: { type: 'string' },
        simulate: { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
      },
    });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

/** The newest kept ceiling of each number of nodes. */
function keptCeilings(): string[] {
  const dir = join(loadSettings().data_dir, CEILINGS_DIR);
  const files = existsSync(dir)
    ? readdirSync(dir)
        .filter((name) => name.endsWith('.json'))
        .sort()
    : [];
  const newest = new Map(files.map((name) => [name.split('.')[0] ?? name, join(dir, name)]));
  if (newest.size === 0) {
    throw new UsageError(
      `there is no measured ceiling in ${dir}: run "toonfleet loadtest URL" first, or name a file with --from`,
    );
  }
  return [...newest.values()];
}

interface Source {
  readonly run: Run;
  readonly measured: Measured;
}

function answer(given: Arguments): number {
  const runs = given.files.map((file) => ({ file, run: readRun(file) }));
  const p95Ms = given.p95Ms ?? Math.min(...runs.map(({ run }) => run.slo.p95_ms ?? Number.POSITIVE_INFINITY));
  if (!Number.isFinite(p95Ms)) throw new UsageError('--p95 is missing: the ceilings were judged without one');
  const sources = runs.map(({ file, run }): Source => {
    const at = ceilingAt(run, p95Ms);
    if ('fault' in at) throw new UsageError(`${file} cannot be used: ${at.fault}`);
    return {
      run,
      measured: {
        source: basename(file),
        nodes: run.fleet.node_count ?? given.nodes,
        slots: run.fleet.slots,
        ceilingQps: at.qps,
      },
    };
  });
  const points = sources.map(({ measured }) => measured);
  const fit = fitCeilings(points);
  const whatIf = speedOf(given, sources);
  const demand: Demand = { ...given, speed: whatIf.speed };
  const largest = Math.max(...points.map(({ nodes }) => nodes));
  const plan = planFleet(demand, fit, largest);
  const simulated =
    plan && given.simulate ? simulatePlan(sources, plan, p95Ms, given, whatIf.speed) : undefined;
  if (given.json) {
    process.stdout.write(
      `${JSON.stringify({ target_qps: given.targetQps, p95_ms: p95Ms, measured: points, fit: { kind: fit.kind, r2: fit.r2, formula: fit.formula }, speed: whatIf.speed, plan: plan ?? null, simulated: simulated ?? null }, null, 1)}\n`,
    );
  } else {
    process.stdout.write(textOf(given, p95Ms, sources, fit, whatIf.words, plan, simulated));
  }
  return plan ? 0 : 1;
}

function readRun(file: string): Run {
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new UsageError(`${file} cannot be read: ${(error as Error).message}`);
  }
  const run = runSchema.safeParse(json);
  if (!run.success) throw new UsageError(`${file} is not the JSON of a run of toonfleet loadtest`);
  return run.data;
}

/** The step whose service times stand for the run: as loaded as possible, yet healthy. */
function typicalStep(run: Run): Step | undefined {
  return run.steps
    .filter(({ verdict, service_ms }) => verdict === 'met' && service_ms !== null)
    .sort((a, b) => a.achieved_qps - b.achieved_qps)
    .at(-1);
}

/** How much faster or slower a node would be with another model or size. */
function speedOf(
  given: Arguments,
  sources: readonly Source[],
): { readonly speed: number; readonly words: string[] } {
  if (given.msPerPicture === undefined && given.megapixels === undefined) return { speed: 1, words: [] };
  const [first] = sources;
  const step = first && typicalStep(first.run);
  if (!first || !step?.service_ms)
    throw new UsageError('--ms-per-picture and --megapixels need a ceiling whose server tells Server-Timing');
  const before = step.service_ms.mean;
  const megapixels = first.run.photos.mean_megapixels;
  const after = given.msPerPicture ?? (before * (given.megapixels ?? megapixels)) / megapixels;
  const words = [`what if: ${before.toFixed(0)} ms a picture (measured) → ${after.toFixed(0)} ms`];
  if (given.megapixels !== undefined && given.msPerPicture === undefined)
    words.push(
      `assumed: time grows with megapixels (${megapixels.toFixed(3)} measured → ${given.megapixels})`,
    );
  return { speed: before / after, words };
}

interface SimulatedPlan {
  readonly ceilingQps: number | null;
  readonly p95AtTargetMs: number | null;
  /** Simulated over measured ceiling of the largest measured fleet, minus one. */
  readonly error: number | null;
  readonly against: string;
}

const SIMULATED_PICTURES = 20_000;

/** Simulates the plan, and the largest measured fleet as well, so that the simulation's own error is seen. */
function simulatePlan(
  sources: readonly Source[],
  plan: Plan,
  p95Ms: number,
  given: Arguments,
  speed: number,
): SimulatedPlan {
  const [largest] = [...sources].sort((a, b) => b.measured.nodes - a.measured.nodes);
  const step = largest && typicalStep(largest.run);
  const slots = largest?.measured.slots;
  if (!largest || !step?.service_ms || !slots) {
    throw new UsageError(
      '--simulate needs a ceiling that tells slots (agents, or --slots) and Server-Timing',
    );
  }
  const slotsPerNode = Math.max(1, Math.round(slots / largest.measured.nodes));
  // A slot is taken longer than drawing takes: what the most loaded step really brought back tells by how much.
  const best = Math.max(
    ...largest.run.steps
      .filter(({ verdict }) => verdict !== 'invalid')
      .map(({ achieved_qps }) => achieved_qps),
  );
  const takenMs = Math.max(step.service_ms.mean, (slots * 1000) / best);
  const settings = (nodes: number, faster: number): Omit<Simulation, 'qps'> => ({
    fleet: { nodes, slotsPerNode },
    pictures: SIMULATED_PICTURES,
    service: serviceLike(
      step.service_ms ?? {
        mean: takenMs,
        p50: takenMs,
        p90: takenMs,
        p95: takenMs,
        p99: takenMs,
        max: takenMs,
      },
      takenMs / faster,
    ),
    overheadMs: (step.stages_ms.upload ?? 0) + 2,
    queueLength: 1000,
    deadlineMs: 60_000,
    seed: 1,
  });
  const measuredAgain = simulatedCeiling(settings(largest.measured.nodes, 1), takenMs, p95Ms);
  const target = simulate({ ...settings(plan.nodes, speed), qps: given.targetQps });
  return {
    ceilingQps: simulatedCeiling(settings(plan.nodes, speed), takenMs / speed, p95Ms),
    p95AtTargetMs: target.latency?.p95 ?? null,
    error: measuredAgain === null ? null : measuredAgain / largest.measured.ceilingQps - 1,
    against: largest.measured.source,
  };
}

function textOf(
  given: Arguments,
  p95Ms: number,
  sources: readonly Source[],
  fit: Fit,
  whatIf: readonly string[],
  plan: Plan | undefined,
  simulated: SimulatedPlan | undefined,
): string {
  const lines = [`${qps(given.targetQps)}/s at P95 ≤ ${duration(p95Ms)}`, ''];
  for (const { run, measured } of sources) {
    lines.push(
      `measured   ${measured.nodes} ${measured.nodes === 1 ? 'node' : 'nodes'}: ${qps(measured.ceilingQps)}/s  (${measured.source}; ${run.machine.cpu}, ${run.started_at.slice(0, 10)}${run.fleet.virtual ? '; VIRTUAL workers, which draw nothing' : ''}${run.fleet.node_count === null ? '; number of nodes assumed' : ''})`,
    );
  }
  lines.push(
    `fit        ${fit.kind}: ${fit.formula}; ${fit.r2 === null ? 'not put to a test, measure a second size' : `R² ${fit.r2.toFixed(3)}`}`,
  );
  for (const line of whatIf) lines.push(`           ${line}`);
  lines.push(
    `rules      ${percent(given.headroom)} headroom, ${given.spare} spare, ${given.zones === 1 ? 'one zone' : `${given.zones} zones, one of which may be lost`}`,
    '',
  );
  if (!plan) {
    lines.push(
      'No fleet of any size carries this demand: by the fit, more nodes stop helping before it is reached.',
      '',
    );
    return lines.join('\n');
  }
  lines.push(
    `VMs        ${plan.nodes}${given.zones === 1 ? '' : ` (${plan.perZone} in each of ${given.zones} zones)`}: ${plan.needed} for the load with its headroom, ${plan.nodes - plan.needed} for what may fail`,
    `load       ${percent(plan.load)} of the ceiling (${qps(plan.ceilingQps)}/s); ${percent(plan.loadWithoutNode)} without one node${plan.ceilingWithoutZoneQps === null ? '' : `; ${percent(given.targetQps / plan.ceilingWithoutZoneQps)} without one zone`}`,
  );
  if (plan.extrapolation > EXTRAPOLATION_LIMIT) {
    const atLeast = Math.ceil(plan.nodes / EXTRAPOLATION_LIMIT);
    lines.push(
      `CAUTION    this is ${plan.extrapolation.toFixed(1)} times the largest measured fleet. Nothing measured says that it scales so far; measure ${atLeast} nodes before you rely on it.`,
    );
  }
  if (simulated) {
    lines.push(
      `simulated  ceiling ${qps(simulated.ceilingQps)}/s, P95 ${duration(simulated.p95AtTargetMs)} at the target; the same simulation of ${simulated.against} is ${simulated.error === null ? 'without a ceiling' : `${simulated.error >= 0 ? '+' : ''}${(simulated.error * 100).toFixed(1)} % off what was measured`}`,
    );
  }
  lines.push('');
  return lines.join('\n');
}
