// One run from options to report: photos, first pictures, the plan, and what it came to. The composition root of the
// load test; the plans decide, the generator loads, the reports show.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PACKAGE_ROOT, VERSION } from '../ops/process/package.ts';
import { Target } from './exchange.ts';
import { Generator } from './generator.ts';
import { thisCommit, thisMachine } from './machine.ts';
import { NodeWatch } from './nodes.ts';
import type { Options } from './options.ts';
import { drawPhotos, type Photo, readPhotos } from './pictures.ts';
import { PLANS } from './plans/index.ts';
import { preflight } from './preflight.ts';
import { raisePriority } from './priority.ts';
import { Display, type Output } from './progress.ts';
import { compare, type Difference, differencesOfKind } from './report/compare.ts';
import { htmlReport } from './report/html.ts';
import { textReport } from './report/table.ts';
import { type PlanAnswer, type Run, type Slo, type Step, sloSchema } from './result.ts';
import { VIRTUAL_MODEL } from './virtual-model.ts';

/** What a run's exit code says. */
export const EXIT = { met: 0, notMet: 1, usage: 2, invalid: 3, aborted: 4, interrupted: 130 } as const;

/** The service level of slo.json, which k6 and Locust read as well. */
export function defaultSlo(): Slo {
  return sloSchema.parse(JSON.parse(readFileSync(join(PACKAGE_ROOT, 'loadtest', 'slo.json'), 'utf8')));
}

/** What surrounds a run. */
export interface Surroundings {
  /** The command line, for the report. */
  readonly command: string;
  /** The report. */
  readonly out: Output;
  /** Progress. */
  readonly err: Output;
  /** Keeps a confirmed ceiling of real workers; gives back where. */
  readonly keep: (run: Run) => string;
  /** Ctrl-C. */
  readonly interrupt: AbortSignal;
}

/**
 * Runs a plan and writes its reports.
 * @returns the exit code.
 * @throws {PreflightError} when there is nothing to load, {PicturesError} when there is nothing to load it with.
 */
export async function runLoadTest(options: Options, around: Surroundings): Promise<number> {
  const display = new Display(around.err, options.quiet);
  const photos =
    options.photos === undefined
      ? await drawPhotos(options.seed, options.sizes)
      : await readPhotos(options.photos);
  const nodes = new NodeWatch({ agents: options.agents, admin: options.admin, nodeKey: options.nodeKey });
  const target = new Target({
    url: options.url,
    timeoutMs: options.timeoutMs,
    headers: options.headers,
    ca: options.ca,
    insecure: options.insecure,
  });
  try {
    const serial = firstSerial();
    const first = await preflight(target, photos, {
      path: options.path,
      fields: options.fields,
      styles: options.styles,
      maxSide: options.maxSide ?? Number.POSITIVE_INFINITY,
      allowCache: options.allowCache,
      serial,
    });
    await nodes.start();
    const fleet = await nodes.fleet();
    display.say(
      `${options.plan} at ${options.url.origin}: ${photos.length} photos, ${first.styles.length || 'the default'} ${first.styles.length === 1 || first.styles.length === 0 ? 'style' : 'styles'}, a picture alone takes ${first.pictureMs.toFixed(0)} ms`,
    );
    const generator = new Generator({
      target,
      path: options.path,
      photos,
      styles: first.styles,
      fields: options.fields,
      maxSide: options.maxSide ?? Number.POSITIVE_INFINITY,
      seed: options.seed,
      firstSerial: serial + 1000,
      arrivals: options.arrivals,
      slo: options.slo,
      nodes,
      maxLateMs: options.maxLateMs,
      allowCache: options.allowCache,
      checkEveryMs: 1000,
      drainMs: options.timeoutMs,
      onProgress: (progress) => display.progress(progress),
    });
    const priority = raisePriority();
    const startedAt = new Date();
    const steps: Step[] = [];
    const answer = await PLANS[options.plan].plan(
      {
        slo: options.slo,
        interrupted: around.interrupt,
        pictureMs: first.pictureMs,
        say: (line) => display.say(`  ${line}`),
        run: async (spec) => {
          const step = await generator.run(spec, around.interrupt);
          steps.push(step);
          display.stepDone(step);
          return step;
        },
      },
      options.settings,
    );
    const run = runOf(options, around.command, answer, steps, {
      startedAt,
      photos,
      styles: first.styles,
      nodeNames: generator.nodes,
      models: generator.models,
      fleet,
      silent: nodes.silent,
      priority,
    });
    return report(run, options, around);
  } finally {
    nodes.stop();
    target.close();
  }
}

/** Numbers of pictures begin where no earlier run of this machine can have come: 4096 a ms since 1970. */
function firstSerial(): number {
  return Date.now() * 4096;
}

interface Circumstances {
  readonly startedAt: Date;
  readonly photos: readonly Photo[];
  readonly styles: readonly string[];
  readonly nodeNames: readonly string[];
  readonly models: readonly string[];
  readonly fleet: { readonly nodes: number; readonly slots: number } | null;
  readonly silent: readonly string[];
  readonly priority: Run['priority'];
}

function runOf(
  options: Options,
  command: string,
  answer: PlanAnswer,
  steps: Step[],
  seen: Circumstances,
): Run {
  const { photos } = seen;
  const mean = (value: (photo: Photo) => number) =>
    photos.reduce((sum, photo) => sum + value(photo), 0) / photos.length;
  const round = (value: number) => Math.round(value * 1000) / 1000;
  return {
    tool: 'toonfleet loadtest',
    format: 1,
    version: VERSION,
    commit: thisCommit(),
    plan: options.plan,
    command,
    url: options.url.origin,
    seed: options.seed,
    started_at: seen.startedAt.toISOString(),
    seconds: round((Date.now() - seen.startedAt.getTime()) / 1000),
    exit_code: exitCodeOf(answer.verdict),
    ...answer,
    machine: thisMachine(),
    priority: seen.priority,
    fleet: {
      nodes: [...seen.nodeNames],
      models: [...seen.models],
      node_count: options.nodes ?? seen.fleet?.nodes ?? null,
      slots: options.slots ?? seen.fleet?.slots ?? null,
      virtual: seen.models.some((model) => model.startsWith(VIRTUAL_MODEL)),
    },
    photos: {
      count: photos.length,
      mean_kb: round(mean(({ bytes }) => bytes.length / 1000)),
      mean_megapixels: round(mean(({ width, height }) => (width * height) / 1e6)),
      sizes: [...new Set(photos.map(({ width, height }) => `${width}x${height}`))],
    },
    styles: [...seen.styles],
    slo: options.slo,
    warnings: warningsOf(options, seen, steps),
    steps,
  };
}

function warningsOf(options: Options, seen: Circumstances, steps: readonly Step[]): string[] {
  const warnings: string[] = [];
  const { slo } = options;
  const unmeasured = (value: (step: Step) => number | null) =>
    steps.length > 0 && steps.every((step) => value(step) === null);
  const clauses = [
    slo.max_cpu !== null && unmeasured(({ cpu }) => cpu) ? 'CPU' : '',
    slo.max_worker_memory_mb !== null && unmeasured(({ worker_memory_mb }) => worker_memory_mb)
      ? 'memory'
      : '',
  ].filter((name) => name !== '');
  if (clauses.length > 0) {
    const why = seen.silent.length > 0 ? ` (no answer from ${seen.silent.join(', ')})` : '';
    warnings.push(`${clauses.join(' and ')} of the nodes were not measured and are not graded${why}`);
  }
  if (options.allowCache)
    warnings.push('answers from caches were allowed; figures are not those of workers alone');
  return warnings;
}

function exitCodeOf(verdict: PlanAnswer['verdict']): number {
  switch (verdict) {
    case 'met':
      return EXIT.met;
    case 'not met':
      return EXIT.notMet;
    case 'invalid':
      return EXIT.invalid;
    case 'aborted':
      return EXIT.aborted;
    case 'interrupted':
      return EXIT.interrupted;
  }
}

/** Writes all reports; a run that is worse than its baseline exits as not met. */
function report(measured: Run, options: Options, { out, keep }: Surroundings): number {
  const { baseline } = options;
  const differences: Difference[] | undefined = baseline ? compare(baseline, measured) : undefined;
  const worse = differences?.some(({ verdict }) => verdict === 'worse') ?? false;
  const run: Run = {
    ...measured,
    exit_code: measured.exit_code === EXIT.met && worse ? EXIT.notMet : measured.exit_code,
    warnings: [...measured.warnings, ...(baseline ? differencesOfKind(baseline, measured) : [])],
  };
  out.write(`${textReport(run, differences)}\n`);
  if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(run, null, 1)}\n`);
  if (options.html !== undefined) writeFileSync(options.html, htmlReport(run, differences));
  if (run.plan === 'ceiling' && run.confirmed_qps !== null && !run.fleet.virtual) {
    out.write(`kept for "toonfleet capacity": ${keep(run)}\n`);
  }
  return run.exit_code;
}
