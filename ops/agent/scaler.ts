// Gives this VM the number of workers that it should have: asks scale.ts what the signals come to, or does as an operator
// has said, and has PM2 do it. One change at a time: it waits until all workers are settled, and takes the lock that a
// reload takes too; a tired worker is let go only while nobody has that lock.

import { join } from 'node:path';
import { z } from 'zod';
import type { NodeScale } from '../../config/contract.ts';
import { isWithin } from '../../config/cron-window.ts';
import { ToonError } from '../../config/errors.ts';
import type { LoadedSettings } from '../../config/load.ts';
import { formatDuration } from '../../config/units.ts';
import { mostWorkers } from '../apps.ts';
import { changeUnderWay, takeChangeLock } from '../process/change-lock.ts';
import { readDurable, writeDurable } from '../process/durable-file.ts';
import type { Log } from '../process/log.ts';
import type { AgentMetrics } from '../process/metrics.ts';
import type { BalancerLoads } from './balancer-load.ts';
import type { Pm2Workers } from './pm2-workers.ts';
import type { Roster } from './roster.ts';
import { type Advice, type Bounds, recommend, type Signal, settle } from './scale.ts';
import type { WorkerCpu } from './worker-cpu.ts';

const wishFileSchema = z.object({
  /** How many workers an operator wants, whatever the signals say; null once they count again. */
  workers: z.number().int().min(1).nullable(),
  since: z.iso.datetime(),
});

export interface ScalerParts {
  readonly settings: LoadedSettings['worker'];
  /** Where the operator's wish is kept. */
  readonly dataDir: string;
  /** PM2's, where the lock is. */
  readonly home: string;
  /** Cores that this process may use. */
  readonly cores: number;
  readonly roster: Roster;
  readonly cpu: Pick<WorkerCpu, 'shares'>;
  readonly loads: Pick<BalancerLoads, 'sum'>;
  readonly pm2: Pm2Workers;
  readonly metrics: AgentMetrics;
  readonly log: Log;
  /** Ms since 1970. */
  readonly now: () => number;
}

export class Scaler {
  readonly #parts: ScalerParts;
  readonly #path: string;
  /** How many the VM starts with. */
  readonly #count: number;
  #fixed: number | undefined;
  /** An operator has taken his wish back where nothing else decides: back to the count of the settings. */
  #returns = false;
  #desired: number;
  #reason: string;
  #history: readonly Advice[] = [];
  #changing: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** @throws {Error} when the kept wish is there and broken. */
  constructor(parts: ScalerParts) {
    this.#parts = parts;
    this.#path = join(parts.dataDir, 'scale.json');
    this.#count = parts.settings.count === 'auto' ? parts.cores : parts.settings.count;
    this.#fixed =
      readDurable(this.#path, wishFileSchema, "this node's number of workers")?.workers ?? undefined;
    this.#desired = this.#fixed ?? this.#count;
    this.#reason = this.#mode === 'off' ? OFF : 'not judged yet';
    this.#show();
  }

  start(): void {
    this.#timer = setInterval(() => void this.judge(), this.#parts.settings.scale.interval);
  }

  /** Judges no more. A change that PM2 has begun goes on to its end, in PM2's own process. */
  stop(): void {
    clearInterval(this.#timer);
  }

  /** How many workers there are when nobody is missing. */
  get fullHouse(): number {
    return this.#desired;
  }

  /** Whether a tired worker may be let go as far as scaling and reloads are concerned. */
  get idle(): boolean {
    return this.#changing === undefined && changeUnderWay(this.#parts.home) === undefined;
  }

  status(): NodeScale {
    const { min, max, lowPeak } = this.#bounds();
    return {
      mode: this.#mode,
      current: this.#current,
      desired: this.#desired,
      min,
      max,
      low_peak: lowPeak,
      reason: this.#reason,
    };
  }

  /**
   * Keeps an operator's wish and begins with it.
   * @throws {ToonError} `conflict` when it is more than this VM may have.
   */
  want(workers: number | 'auto'): NodeScale {
    const most = this.#most;
    if (workers !== 'auto' && workers > most)
      throw new ToonError('conflict', {
        detail: `${workers} workers are more than this node may have (worker.scale.max: ${most}).`,
      });
    this.#fixed = workers === 'auto' ? undefined : workers;
    this.#returns = workers === 'auto' && !this.#parts.settings.scale.enabled;
    writeDurable(this.#path, {
      workers: this.#fixed ?? null,
      since: new Date(this.#parts.now()).toISOString(),
    });
    this.#parts.log.info({ workers }, 'an operator says how many workers there are');
    // What was asked for before an operator took over is no reason any more.
    this.#history = [];
    this.#decide();
    void this.judge();
    return this.status();
  }

  /** Looks at the signals once, and begins a change where one is due. Resolves when that is over. */
  async judge(): Promise<void> {
    // Half-way through a change there is nothing to count.
    if (this.#changing) return this.#changing;
    this.#decide();
    this.#show();
    try {
      await this.#change();
    } catch (error) {
      this.#parts.log.error({ error }, 'the workers could not be scaled');
    }
    this.#show();
  }

  get #mode(): NodeScale['mode'] {
    if (this.#fixed !== undefined) return 'fixed';
    return this.#parts.settings.scale.enabled ? 'auto' : 'off';
  }

  get #most(): number {
    return mostWorkers({ worker: this.#parts.settings }, this.#parts.cores);
  }

  get #current(): number {
    return this.#parts.roster.reports().filter(({ state }) => state !== 'draining').length;
  }

  #bounds(): Bounds & { readonly lowPeak: boolean } {
    const { scale } = this.#parts.settings;
    const low = scale.low_peak.find((window) => isWithin(window, this.#parts.now(), scale.time_zone));
    if (low) return { min: low.min, max: low.max, lowPeak: true };
    const max = scale.max === 'auto' ? Math.max(scale.min, this.#parts.cores) : scale.max;
    return { min: scale.min, max, lowPeak: false };
  }

  #decide(): void {
    const mode = this.#mode;
    switch (mode) {
      case 'off':
        this.#desired = this.#count;
        this.#reason = OFF;
        return;
      case 'fixed':
        this.#desired = this.#fixed ?? this.#count;
        this.#reason = `an operator has said ${this.#desired}`;
        return;
      case 'auto':
        this.#follow();
    }
  }

  #follow(): void {
    const { settings, roster, now } = this.#parts;
    const { scale } = settings;
    const current = this.#current;
    const bounds = this.#bounds();
    // A drained node has nothing to do, which says nothing of what comes with its undrain.
    if (roster.draining) {
      this.#history = [];
      this.#reason = 'nothing is judged while the node is drained';
      return;
    }
    // Who is coming or going would be counted at half.
    if (!roster.settled(now()) || current === 0) {
      this.#reason = 'workers are coming or going';
      return;
    }
    if (this.#history.length === 0) this.#history = [{ at: now(), count: current }];
    const tolerance = scale.tolerance / 100;
    const caution = { tolerance, upAfterMs: scale.up_after, downAfterMs: scale.down_after };
    const advice = recommend(signalsOf(this.#parts), current, tolerance);
    const verdict = settle(advice, this.#history, current, bounds, caution, now());
    this.#history = verdict.history;
    this.#desired = verdict.desired;
    this.#reason = bounds.lowPeak ? `low peak; ${verdict.words}` : verdict.words;
    this.#parts.metrics.scaleReason.reset();
    this.#parts.metrics.scaleReason.set({ reason: verdict.by }, 1);
  }

  /** Has PM2 do what was decided, unless somebody else is changing something. */
  #change(): Promise<void> {
    if (this.#mode === 'off' && !this.#returns) return Promise.resolve();
    const { roster, home, now } = this.#parts;
    const from = this.#current;
    const to = this.#desired;
    if (from === to) {
      this.#returns = false;
      return Promise.resolve();
    }
    if (from === 0 || !roster.settled(now()) || roster.draining) {
      this.#reason += roster.draining
        ? '; waits: the node is drained'
        : '; waits: workers are coming or going';
      return Promise.resolve();
    }
    const lock = takeChangeLock(home, `scaling from ${from} to ${to} workers`);
    if (lock.kind === 'held') {
      this.#reason += `; waits: ${lock.sentence}`;
      return Promise.resolve();
    }
    this.#changing = this.#scale(from, to).finally(() => {
      lock.release();
      this.#changing = undefined;
    });
    return this.#changing;
  }

  async #scale(from: number, to: number): Promise<void> {
    const { pm2, roster, metrics, log, now } = this.#parts;
    const direction = to > from ? 'up' : 'down';
    const began = now();
    try {
      // PM2 takes away its oldest workers, and must not leave one that is down instead of one that draws.
      const known = new Set(roster.reports().map(({ pid }) => pid));
      const pids = await pm2.pids();
      if (!pids) throw new Error('PM2 does not tell which workers it runs');
      // PM2 has so many already, and starts again whoever of them is down.
      if (pids.length === to) return;
      const strange = pids.filter((pid) => !known.has(pid)).length;
      if (strange > 0 || pids.length !== known.size)
        throw new Error(`PM2 runs ${pids.length} workers, and ${known.size} are ready`);
      log.info({ from, to, reason: this.#reason }, `scaling ${direction}`);
      await pm2.scale(to);
      metrics.scaleChanges.inc({ direction, result: 'done' });
      log.info({ from, to, took_ms: Math.round(now() - began) }, `scaled ${direction}`);
    } catch (error) {
      this.#reason += `; ${(error as Error).message}`.slice(0, 500);
      metrics.scaleChanges.inc({ direction, result: 'failed' });
      log.warn({ from, to, why: (error as Error).message }, 'the workers could not be scaled; tried again');
    }
  }

  #show(): void {
    const { metrics } = this.#parts;
    const { current, desired, min, max } = this.status();
    for (const [kind, value] of Object.entries({ current, desired, min, max }))
      metrics.scaleWorkers.set({ kind }, value);
  }
}

const OFF = 'worker.scale.enabled is false';

/** The signals that the settings name, as they are now. */
function signalsOf({ settings, cpu, loads, now }: ScalerParts): Signal[] {
  const { scale } = settings;
  const load = loads.sum(now());
  const time = (name: string, target: number, value: number | undefined): Signal[] =>
    target === 0 ? [] : [{ kind: 'whole', name, target, value, say: (ms) => formatDuration(Math.round(ms)) }];
  const { values, unmeasured } = cpu.shares();
  const signals: Signal[] = [];
  if (scale.cpu > 0)
    signals.push({
      kind: 'each',
      name: 'cpu',
      target: scale.cpu / 100,
      values,
      unmeasured,
      say: (share) => `${Math.round(share * 100)} %`,
    });
  if (scale.queue_length > 0)
    signals.push({
      kind: 'whole',
      name: 'queue length',
      target: scale.queue_length,
      value: load?.queue,
      say: String,
    });
  return [
    ...signals,
    ...time('mean response', scale.mean_response, load?.mean),
    ...time('queue wait', scale.queue_wait, load?.wait),
    ...time('p95', scale.p95, load?.p95),
  ];
}
