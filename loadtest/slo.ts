// Judges a step by the service level, while it runs and when it is over. Pure.
// Clauses that were not measured are not graded; nothing here guesses.

import type { Clause, Slo, Step } from './result.ts';

/** What a step's final judgement looks at. */
export type Judged = Pick<
  Step,
  | 'model'
  | 'offered_qps'
  | 'seconds'
  | 'requests'
  | 'error_rate'
  | 'latency_ms'
  | 'backlog_growth'
  | 'cpu'
  | 'worker_memory_mb'
>;

/** Every clause, judged; `met: null` where a clause is switched off or was not measured. */
export function judge(step: Judged, slo: Slo): Clause[] {
  const p95 = step.latency_ms?.p95 ?? null;
  const clauses: Clause[] = [
    clause('p95', slo.p95_ms, p95, ms, step.requests > 0 && p95 === null ? false : undefined),
    clause('errors', slo.max_error_rate, step.requests === 0 ? null : step.error_rate, share),
    clause('cpu', slo.max_cpu, step.cpu, share),
    clause('memory', slo.max_worker_memory_mb, step.worker_memory_mb, (mb) => `${mb.toFixed(0)} MB`),
  ];
  if (step.model === 'open' && step.offered_qps !== null) {
    const allowed = allowedGrowth((step.offered_qps * step.seconds * 2) / 3);
    clauses.splice(2, 0, {
      name: 'keeps up',
      found: `backlog ${step.backlog_growth >= 0 ? '+' : ''}${step.backlog_growth.toFixed(1)}`,
      limit: `≤ +${allowed.toFixed(1)}`,
      met: step.backlog_growth <= allowed,
    });
  }
  return clauses;
}

/**
 * How much the backlog may grow while `arrivals` came: 2 % of them, or what chance explains. Without
 * this clause a short step passes above the ceiling, because its queue has not yet grown to the limit of the P95.
 */
export function allowedGrowth(arrivals: number): number {
  return Math.max(0.02 * arrivals, 0.5 * Math.sqrt(Math.max(0, arrivals)));
}

function clause(
  name: Clause['name'],
  limit: number | null,
  found: number | null,
  words: (value: number) => string,
  forced?: boolean,
): Clause {
  return {
    name,
    found: found === null ? (forced === false ? 'no picture came back' : 'not measured') : words(found),
    limit: limit === null ? 'off' : `≤ ${words(limit)}`,
    met: limit === null ? null : (forced ?? (found === null ? null : found <= limit)),
  };
}

const ms = (value: number) => (value >= 1000 ? `${(value / 1000).toFixed(2)} s` : `${value.toFixed(0)} ms`);
const share = (value: number) => `${(value * 100).toFixed(value < 0.1 ? 2 : 1)} %`;

/** A running step, as far as its verdict depends on it. */
export interface Progress {
  /** Requests that the whole step will send; for a closed model, as far as its pace so far tells. */
  readonly planned: number;
  /** Null for a closed model. */
  readonly ratePerSecond: number | null;
  readonly elapsedMs: number;
  readonly done: number;
  /** Requests that ended without a picture. */
  readonly errors: number;
  /** Pictures that came back later than the P95 allows. */
  readonly overLimit: number;
  readonly inFlight: number;
  /** Requests without an answer that are due for longer than the P95 allows. */
  readonly inFlightOverLimit: number;
  /** P95 so far, ms. */
  readonly p95Ms: number;
  readonly backlogGrowth: number;
}

/** What is known before a step is over. */
export type EarlyVerdict =
  | { readonly kind: 'open' }
  | { readonly kind: 'fails'; readonly why: string }
  | { readonly kind: 'passes'; readonly why: string };

/** When a step may be taken as passed before its end. */
export interface EarlyPass {
  readonly minRequests: number;
  readonly minMs: number;
}

/**
 * Whether the verdict of a step is known already. A failure is known when no rest of the step could mend it, or when
 * the queue is so long that all who join it come too late. A pass is taken early only far from the limit: half the
 * P95 or less, no error, no growing backlog, and so many pictures that 5 in 100 over the limit can be ruled out.
 */
export function earlyVerdict(progress: Progress, slo: Slo, pass: EarlyPass | null): EarlyVerdict {
  const { planned, done, errors, inFlight } = progress;
  if (slo.max_error_rate !== null && errors > slo.max_error_rate * Math.max(planned, done)) {
    return {
      kind: 'fails',
      why: `${errors} errors are over ${share(slo.max_error_rate)} of all ${planned} requests`,
    };
  }
  if (slo.p95_ms !== null) {
    const late = progress.overLimit + progress.inFlightOverLimit;
    if (late > 0.05 * Math.max(planned, done) + 1) {
      return { kind: 'fails', why: `${late} of ${planned} pictures are over ${ms(slo.p95_ms)} already` };
    }
    const hopeless = 1.5 * (progress.ratePerSecond ?? Number.POSITIVE_INFINITY) * (slo.p95_ms / 1000);
    if (inFlight > Math.max(20, hopeless)) {
      return { kind: 'fails', why: `the queue diverges: ${inFlight} without an answer` };
    }
  }
  if (pass === null || done < pass.minRequests || progress.elapsedMs < pass.minMs) return { kind: 'open' };
  const farFromLimit =
    slo.p95_ms === null || (progress.p95Ms <= slo.p95_ms / 2 && progress.inFlightOverLimit === 0);
  const fewOver = upperBound(progress.overLimit, done) < 0.05;
  const steady = progress.backlogGrowth <= allowedGrowth((done * 2) / 3) / 2;
  return farFromLimit && fewOver && errors === 0 && steady
    ? { kind: 'passes', why: `P95 ${ms(progress.p95Ms)} after ${done} pictures is far from the limit` }
    : { kind: 'open' };
}

/** The 99 % upper bound (Wilson) of a share of which `hits` in `n` were seen. */
export function upperBound(hits: number, n: number): number {
  if (n === 0) return 1;
  const z = 2.326;
  const p = hits / n;
  const centre = p + (z * z) / (2 * n);
  const spread = z * Math.sqrt((p * (1 - p)) / n + (z * z) / (4 * n * n));
  return Math.min(1, (centre + spread) / (1 + (z * z) / n));
}

/** Whether all graded clauses are met. */
export function met(clauses: readonly Clause[]): boolean {
  return clauses.every((each) => each.met !== false);
}
