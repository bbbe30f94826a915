// Gathers the outcomes of one step into its figures. Pure but for the numbers it is given: it knows no clock.

import { Durations } from './histogram.ts';
import type { Ending, Outcome } from './outcome.ts';
import { type Second, type StageName, stageNames } from './result.ts';

/** What the nodes said at one moment; null where nobody said it. */
export interface NodeReading {
  readonly cpu: number | null;
  readonly workerMemoryMb: number | null;
  readonly queueLength: number | null;
}

/** One second in the making. */
interface OpenSecond {
  sent: number;
  ok: number;
  shed: number;
  failed: number;
  latencies: number[];
  queueMs: number[];
}

const emptySecond = (): OpenSecond => ({ sent: 0, ok: 0, shed: 0, failed: 0, latencies: [], queueMs: [] });

/** The outcomes of one step. */
export class Recorder {
  readonly latency = new Durations();
  readonly refusals = new Durations();
  readonly lateness = new Durations();
  /** Decode, infer and encode of each picture. */
  readonly service = new Durations();
  readonly counts: Record<Ending, number> = { ok: 0, shed: 0, limited: 0, failed: 0, wrong: 0 };
  readonly reasons: Record<string, number> = {};
  readonly overTime: Second[] = [];
  sent = 0;
  cacheHits = 0;
  checked = 0;
  overLimit = 0;
  lateMaxMs = 0;
  inFlightMax = 0;
  readonly #limitMs: number;
  readonly #startedS: number;
  readonly #stages = new Map<StageName, { sum: number; n: number }>();
  readonly #dueOfInFlight = new Map<number, number>();
  readonly #inFlightSamples: { readonly ms: number; readonly inFlight: number }[] = [];
  #second = emptySecond();

  /** `limitMs` is the P95 of the service level; `startedS` the step's start within its run. */
  constructor(limitMs: number | null, startedS: number) {
    this.#limitMs = limitMs ?? Number.POSITIVE_INFINITY;
    this.#startedS = startedS;
  }

  get inFlight(): number {
    return this.#dueOfInFlight.size;
  }

  get done(): number {
    return this.sent - this.inFlight;
  }

  /** Requests that ended without a picture. */
  get errors(): number {
    return this.done - this.counts.ok;
  }

  /** A request was sent; both moments in ms from the start of the step. */
  send(id: number, dueMs: number, sentMs: number): void {
    this.sent += 1;
    this.#second.sent += 1;
    this.#dueOfInFlight.set(id, dueMs);
    this.lateness.add(sentMs - dueMs);
    this.lateMaxMs = Math.max(this.lateMaxMs, sentMs - dueMs);
    this.inFlightMax = Math.max(this.inFlightMax, this.inFlight);
  }

  /** A request ended. */
  settle(id: number, outcome: Outcome): void {
    if (!this.#dueOfInFlight.delete(id)) return;
    const { ending, reason, timings } = outcome;
    const latencyMs = outcome.doneMs - outcome.dueMs;
    this.counts[ending] += 1;
    if (reason !== '') this.reasons[reason] = (this.reasons[reason] ?? 0) + 1;
    if (outcome.cacheHit) this.cacheHits += 1;
    if (ending === 'ok') {
      this.latency.add(latencyMs);
      if (latencyMs > this.#limitMs) this.overLimit += 1;
      this.#second.ok += 1;
      this.#second.latencies.push(latencyMs);
      if (timings.queue !== undefined) this.#second.queueMs.push(timings.queue);
      if (timings.infer !== undefined)
        this.service.add((timings.decode ?? 0) + timings.infer + (timings.encode ?? 0));
      for (const stage of stageNames) this.#addStage(stage, timings[stage]);
    } else if (ending === 'shed') {
      this.refusals.add(latencyMs);
      this.#second.shed += 1;
    } else {
      this.#second.failed += 1;
    }
  }

  /** An answer that was counted as a picture turned out to be none, or the wrong one. */
  retract(reason: string): void {
    this.counts.ok -= 1;
    this.counts.wrong += 1;
    this.reasons[reason] = (this.reasons[reason] ?? 0) + 1;
  }

  /** Gives up on all that have no answer, as failed with this reason. */
  abandon(reason: string): void {
    const left = this.inFlight;
    if (left === 0) return;
    this.counts.failed += left;
    this.reasons[reason] = (this.reasons[reason] ?? 0) + left;
    this.#dueOfInFlight.clear();
  }

  /** Notes how many are without an answer; to be called several times a second. */
  sample(ms: number): void {
    this.#inFlightSamples.push({ ms, inFlight: this.inFlight });
  }

  /** Closes the current second. */
  closeSecond(ms: number, reading: NodeReading): void {
    const { latencies, queueMs, ...counts } = this.#second;
    latencies.sort((a, b) => a - b);
    const at = (share: number) =>
      rounded(latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))] ?? null);
    this.overTime.push({
      t: Math.round((this.#startedS + ms / 1000) * 100) / 100,
      ...counts,
      p50: at(0.5),
      p95: at(0.95),
      p99: at(0.99),
      in_flight: this.inFlight,
      queue_ms:
        queueMs.length === 0
          ? null
          : rounded(queueMs.reduce((sum, value) => sum + value, 0) / queueMs.length),
      cpu: reading.cpu,
      queue_length: reading.queueLength,
      worker_memory_mb: reading.workerMemoryMb,
    });
    this.#second = emptySecond();
  }

  /** Requests without an answer that are due for longer than the P95 allows. */
  inFlightOverLimit(nowMs: number): number {
    let over = 0;
    for (const dueMs of this.#dueOfInFlight.values()) if (nowMs - dueMs > this.#limitMs) over += 1;
    return over;
  }

  inFlightMean(): number {
    const samples = this.#inFlightSamples;
    return samples.length === 0
      ? 0
      : samples.reduce((sum, { inFlight }) => sum + inFlight, 0) / samples.length;
  }

  /**
   * By how much the number without an answer grew over the last two thirds of the time up to `endMs`, as a least-squares
   * line, since single samples jump with every burst.
   */
  backlogGrowth(endMs: number): number {
    const late = this.#inFlightSamples.filter(({ ms }) => ms >= endMs / 3 && ms <= endMs);
    if (late.length < 4) return 0;
    const n = late.length;
    const meanMs = late.reduce((sum, { ms }) => sum + ms, 0) / n;
    const meanInFlight = late.reduce((sum, { inFlight }) => sum + inFlight, 0) / n;
    const covariance = late.reduce(
      (sum, { ms, inFlight }) => sum + (ms - meanMs) * (inFlight - meanInFlight),
      0,
    );
    const variance = late.reduce((sum, { ms }) => sum + (ms - meanMs) ** 2, 0);
    return variance === 0 ? 0 : (covariance / variance) * ((endMs * 2) / 3);
  }

  /** Mean ms of each stage that answers told. */
  stages(): Partial<Record<StageName, number>> {
    return Object.fromEntries(
      [...this.#stages].map(([stage, { sum, n }]) => [stage, Math.round((sum / n) * 100) / 100]),
    );
  }

  #addStage(stage: StageName, ms: number | undefined): void {
    if (ms === undefined) return;
    const known = this.#stages.get(stage) ?? { sum: 0, n: 0 };
    this.#stages.set(stage, { sum: known.sum + ms, n: known.n + 1 });
  }
}

const rounded = (ms: number | null): number | null => (ms === null ? null : Math.round(ms * 100) / 100);
