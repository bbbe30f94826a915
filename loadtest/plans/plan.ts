// What every plan is given and gives back, and the endings that all of them share.

import type { StepSpec } from '../generator.ts';
import type { PlanAnswer, Slo, Step } from '../result.ts';

/** What a plan may do. */
export interface Bench {
  /** Holds one load; the step is kept for the report. */
  run(spec: StepSpec): Promise<Step>;
  /** A line for people about what comes next. */
  say(line: string): void;
  readonly slo: Slo;
  readonly interrupted: AbortSignal;
  /** Mean ms of the warm-up's pictures, one after the other. */
  readonly pictureMs: number;
}

/** What plans can be told; each plan takes what it needs. Seconds unless said otherwise. */
export interface PlanSettings {
  readonly step: number;
  readonly requests: number;
  readonly confirm: number;
  readonly precision: number;
  readonly startQps: number | undefined;
  readonly maxQps: number;
  /** The rate to hold; undefined takes a share of the ceiling. */
  readonly qps: number | undefined;
  /** A known ceiling; undefined finds it first. */
  readonly ceilingQps: number | undefined;
  readonly duration: number | undefined;
  readonly users: readonly number[];
  readonly reloadCommand: string | undefined;
  readonly deadlineMs: number | undefined;
}

/** A plan: holds loads on a bench until its answer is known. */
export type Plan = (bench: Bench, settings: PlanSettings) => Promise<PlanAnswer>;

/** An answer with no ceiling in it. */
export function answer(verdict: PlanAnswer['verdict'], sentence: string): PlanAnswer {
  return { verdict, sentence, ceiling_qps: null, ceiling_above_qps: null, confirmed_qps: null };
}

/** Why a plan cannot go on after this step; undefined when it can. */
export function stopAfter(step: Step): PlanAnswer | undefined {
  if (step.ended === 'interrupted')
    return answer('interrupted', 'Ended by Ctrl-C; this is what was measured until then.');
  if (step.ended === 'aborted') return answer('aborted', `Stopped: ${step.why}.`);
  if (step.limited > 0 && step.limited * 2 >= step.requests - step.ok) {
    return answer(
      'invalid',
      `${step.limited} of ${step.requests} requests were answered 429: you met the rate limit, not the ceiling. Raise or switch off the limit for this client.`,
    );
  }
  const broken = step.failed + step.wrong;
  if (step.requests >= 10 && broken * 2 > step.requests) {
    const [most] = Object.entries(step.reasons).sort(([, a], [, b]) => b - a);
    return answer(
      'aborted',
      `Stopped: ${broken} of ${step.requests} requests failed, mostly: ${most?.[0] ?? 'unknown'}.`,
    );
  }
  if (step.verdict === 'invalid') return answer('invalid', `The run is invalid: ${step.why}.`);
  return undefined;
}

/** One open stretch of constant rate. */
export function hold(qps: number, seconds: number): StepSpec['load'] {
  return { model: 'open', stretches: [{ rate: qps, seconds }] };
}

/** A rate for people: three digits are enough. */
export function rate(qps: number): string {
  return `${qps >= 100 ? qps.toFixed(0) : qps >= 10 ? qps.toFixed(1) : qps.toFixed(2)}/s`;
}
