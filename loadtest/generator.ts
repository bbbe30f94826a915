// Holds one load against a target and reports what came of it. Open model: pictures are sent when they are due,
// whatever became of the ones before, and each latency counts from the due moment; a server that stalls therefore
// shows its stall in every picture that was due meanwhile. Closed model: each user waits for the answer.
// Decides nothing about rates; watches its own punctuality, since a late generator measures itself.

import { monitorEventLoopDelay, performance } from 'node:perf_hooks';
import { type ArrivalKind, type Stretch, schedule } from './arrivals.ts';
import type { Target } from './exchange.ts';
import type { NodeWatch } from './nodes.ts';
import { endingOf } from './outcome.ts';
import type { Photo } from './pictures.ts';
import { type Random, seededFor } from './random.ts';
import { Recorder } from './recorder.ts';
import type { Clause, Slo, Step } from './result.ts';
import { type EarlyPass, earlyVerdict, judge, met, type Progress } from './slo.ts';
import { faultOf, Sampling } from './verify.ts';

/** What is the same for all steps of a run. */
export interface GeneratorOptions {
  readonly target: Target;
  readonly path: string;
  readonly photos: readonly Photo[];
  /** Empty asks for no style. */
  readonly styles: readonly string[];
  /** Form fields beside the style. */
  readonly fields: Readonly<Record<string, string>>;
  readonly maxSide: number;
  readonly seed: number;
  /** The number of the first picture; each has its own, over all runs. */
  readonly firstSerial: number;
  readonly arrivals: ArrivalKind;
  readonly slo: Slo;
  readonly nodes: NodeWatch;
  /** A later start than this at p99 makes a step invalid, ms. */
  readonly maxLateMs: number;
  readonly allowCache: boolean;
  /** Between two answers that are looked into, ms. */
  readonly checkEveryMs: number;
  /** How long a step waits for its last answers, ms. */
  readonly drainMs: number;
  readonly onProgress: (progress: StepProgress) => void;
}

/** One load to hold. */
export type Load =
  | { readonly model: 'open'; readonly stretches: readonly Stretch[] }
  | { readonly model: 'closed'; readonly users: number; readonly seconds: number };

/** One step to run. */
export interface StepSpec {
  readonly label: string;
  readonly purpose: Step['purpose'];
  readonly load: Load;
  /** `none` for a step that its plan judges as part of the whole, such as a spike. */
  readonly grade: 'slo' | 'none';
  /** Ends the step as soon as its verdict is known; null runs it to its end. */
  readonly early: { readonly fail: boolean; readonly pass: EarlyPass | null } | null;
}

/** What a display shows of a running step. */
export interface StepProgress {
  readonly label: string;
  readonly elapsedS: number;
  readonly plannedS: number;
  readonly sent: number;
  readonly ok: number;
  readonly shed: number;
  readonly failed: number;
  readonly inFlight: number;
  readonly p95Ms: number;
  readonly lateP99Ms: number;
}

/** This many connections in a row that failed mean that the server is gone. */
const GONE_AFTER = 20;
const TICK_MS = 250;
/** The histogram of the event loop counts its own period into each delay. */
const LAG_PERIOD_MS = 5;

/** Makes the load, one step at a time. */
export class Generator {
  readonly #options: GeneratorOptions;
  readonly #born = performance.now();
  readonly #seen: Seen;

  constructor(options: GeneratorOptions) {
    this.#options = options;
    this.#seen = { models: new Set(), nodes: new Set(), serial: options.firstSerial };
  }

  /** Models (X-Model) seen in answers. */
  get models(): string[] {
    return [...this.#seen.models].sort();
  }

  /** Nodes (X-Node) seen in answers. */
  get nodes(): string[] {
    return [...this.#seen.nodes].sort();
  }

  /** Runs one step. `interrupt` is Ctrl-C: the step ends with what it has. */
  run(spec: StepSpec, interrupt: AbortSignal): Promise<Step> {
    return new Holding(
      this.#options,
      spec,
      this.#seen,
      (performance.now() - this.#born) / 1000,
      interrupt,
    ).run();
  }
}

/** What one run learns over all its steps. */
interface Seen {
  readonly models: Set<string>;
  readonly nodes: Set<string>;
  /** Numbers every picture of the run, so that none is sent twice. */
  serial: number;
}

/** How a step ended. */
interface End {
  readonly ended: Step['ended'];
  readonly why: string;
}

/** One load while it is held. */
class Holding {
  readonly #options: GeneratorOptions;
  readonly #spec: StepSpec;
  readonly #seen: Seen;
  readonly #interrupt: AbortSignal;
  readonly #startedS: number;
  readonly #plannedMs: number;
  readonly #due: Float64Array | undefined;
  readonly #recorder: Recorder;
  readonly #sampling: Sampling;
  readonly #chance: Random;
  readonly #flying = new Set<Promise<void>>();
  readonly #checks: Promise<void>[] = [];
  readonly #over = new AbortController();
  readonly #start: number;
  #end: End | undefined;
  /** The moment from which pictures a second are counted: all users of a closed load are there. */
  #settled = { ms: 0, ok: 0 };
  #lostInARow = 0;

  constructor(
    options: GeneratorOptions,
    spec: StepSpec,
    seen: Seen,
    startedS: number,
    interrupt: AbortSignal,
  ) {
    this.#options = options;
    this.#spec = spec;
    this.#seen = seen;
    this.#interrupt = interrupt;
    this.#startedS = startedS;
    this.#plannedMs = lengthOf(spec.load) * 1000;
    this.#due =
      spec.load.model === 'open'
        ? schedule(spec.load.stretches, options.arrivals, seededFor(options.seed, 'arrivals'))
        : undefined;
    this.#recorder = new Recorder(options.slo.p95_ms, startedS);
    this.#sampling = new Sampling(options.checkEveryMs);
    this.#chance = seededFor(options.seed, 'photos');
    this.#start = performance.now();
  }

  async run(): Promise<Step> {
    const { nodes } = this.#options;
    const lag = monitorEventLoopDelay({ resolution: LAG_PERIOD_MS });
    lag.enable();
    const cpuBefore = process.cpuUsage();
    nodes.takeReadings();
    const ticker = setInterval(() => this.#tick(), TICK_MS);
    const seconds = setInterval(() => this.#recorder.closeSecond(this.#now(), nodes.reading), 1000);
    const onInterrupt = () => this.#finish('interrupted', 'Ctrl-C');
    this.#interrupt.addEventListener('abort', onInterrupt, { once: true });
    if (this.#interrupt.aborted) onInterrupt();
    try {
      const { load } = this.#spec;
      if (load.model === 'open') await this.#holdOpen(this.#due ?? new Float64Array());
      else await this.#holdClosed(load.users);
      const heldMs = Math.min(this.#now(), this.#plannedMs);
      const cpu = process.cpuUsage(cpuBefore);
      const held: Held = {
        heldMs,
        ok: this.#recorder.counts.ok,
        inFlightMean: this.#recorder.inFlightMean(),
        growth: this.#recorder.backlogGrowth(heldMs),
        loopLagP99Ms: Math.max(0, lag.percentile(99) / 1e6 - LAG_PERIOD_MS),
        generatorCpu: (cpu.user + cpu.system) / 1000 / Math.max(1, this.#now()),
      };
      await this.#drain();
      this.#recorder.abandon(this.#end?.ended === 'interrupted' ? 'not waited for' : 'timeout');
      await Promise.all(this.#checks);
      this.#recorder.closeSecond(this.#now(), nodes.reading);
      return this.#step(held);
    } finally {
      lag.disable();
      clearInterval(ticker);
      clearInterval(seconds);
      this.#interrupt.removeEventListener('abort', onInterrupt);
    }
  }

  /** Ms since the start of the step. */
  #now(): number {
    return performance.now() - this.#start;
  }

  #finish(ended: Step['ended'], why: string): void {
    if (this.#end) return;
    this.#end = { ended, why };
    this.#over.abort();
  }

  /** Sends each picture when it is due, until the time is over or the step was ended. */
  #holdOpen(due: Float64Array): Promise<void> {
    return new Promise((resolve) => {
      let next = 0;
      let timer: NodeJS.Timeout | undefined;
      const turn = () => {
        const ms = this.#now();
        while (!this.#end && next < due.length && (due[next] ?? 0) <= ms) {
          this.#launch(due[next] ?? 0);
          next += 1;
        }
        const waitMs = (due[next] ?? this.#plannedMs) - this.#now();
        if (this.#end || (next >= due.length && waitMs <= 0)) resolve();
        else timer = setTimeout(turn, Math.max(0, waitMs));
      };
      this.#over.signal.addEventListener('abort', () => {
        clearTimeout(timer);
        resolve();
      });
      turn();
    });
  }

  /** Lets each user send, wait, and send again; they begin spread over the first second, as people do. */
  async #holdClosed(users: number): Promise<void> {
    const settleMs = Math.min(1000, this.#plannedMs / 4);
    setTimeout(() => {
      this.#settled = { ms: this.#now(), ok: this.#recorder.counts.ok };
    }, settleMs);
    const user = async (index: number) => {
      await pause((index / users) * settleMs);
      while (this.#now() < this.#plannedMs && !this.#end) {
        const begunMs = this.#now();
        // A user's due moment is its own start: in a closed model nobody but the server can be late.
        await this.#launch(begunMs);
        // A dead server refuses in microseconds; no user tries ten thousand times a second.
        if (this.#now() - begunMs < 5) await pause(20);
      }
    };
    const everyone = Promise.all(Array.from({ length: users }, (_, index) => user(index)));
    await Promise.race([everyone, this.#timeOver()]);
  }

  /** When the load has been held long enough, or the step was ended. */
  #timeOver(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, this.#plannedMs - this.#now());
      this.#over.signal.addEventListener('abort', () => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  #launch(dueMs: number): Promise<void> {
    const flight = this.#fire(dueMs).finally(() => this.#flying.delete(flight));
    this.#flying.add(flight);
    return flight;
  }

  async #fire(dueMs: number): Promise<void> {
    const { photos, styles, fields, target, path } = this.#options;
    const photo = photos[Math.floor(this.#chance() * photos.length)];
    const style = styles[Math.floor(this.#chance() * styles.length)];
    if (!photo) throw new Error('a load needs at least one photo');
    const id = this.#seen.serial++;
    const upload = photo.upload.body(id, style === undefined ? fields : { ...fields, style });
    const sentMs = this.#now();
    this.#recorder.send(id, dueMs, sentMs);
    const result = await target.post(path, upload, this.#sampling.wants(sentMs));
    const { ending, reason } = endingOf(result);
    const answer = 'bytes' in result ? result : undefined;
    this.#recorder.settle(id, {
      dueMs,
      sentMs,
      doneMs: this.#now(),
      ending,
      reason,
      bytes: answer?.bytes ?? 0,
      timings: answer?.timings ?? {},
      cacheHit: answer?.cache === 'hit',
    });
    if (answer) {
      this.#lostInARow = 0;
      if (answer.model !== undefined) this.#seen.models.add(answer.model);
      if (answer.node !== undefined) this.#seen.nodes.add(answer.node);
      if (ending === 'ok' && answer.body) this.#checks.push(this.#check(answer.body, photo));
    } else if (reason !== 'timeout') {
      this.#lostInARow += 1;
      if (this.#lostInARow >= GONE_AFTER) {
        this.#finish('aborted', `the server is gone: ${GONE_AFTER} connections in a row failed (${reason})`);
      }
    }
  }

  async #check(body: Buffer, photo: Photo): Promise<void> {
    const fault = await faultOf(body, photo, this.#options.maxSide);
    this.#recorder.checked += 1;
    if (fault !== undefined) this.#recorder.retract(fault);
  }

  /** Four times a second: samples, tells the display, and ends the step when it is decided or unsafe. */
  #tick(): void {
    const recorder = this.#recorder;
    const ms = this.#now();
    if (!this.#end && ms <= this.#plannedMs) recorder.sample(ms);
    this.#options.onProgress(this.#progress(ms));
    if (this.#end || ms > this.#plannedMs) return;
    const broken = recorder.counts.failed + recorder.counts.wrong;
    if (recorder.done >= 40 && broken > recorder.done / 2) {
      this.#finish('aborted', `${broken} of ${recorder.done} requests failed (${mostly(recorder.reasons)})`);
    }
    const { early } = this.#spec;
    if (!early) return;
    const verdict = earlyVerdict(this.#forVerdict(ms), this.#options.slo, early.pass);
    if (verdict.kind === 'passes') this.#finish('passed early', verdict.why);
    if (verdict.kind === 'fails' && early.fail) this.#finish('failed early', verdict.why);
  }

  /** Waits for the last answers: long after a step that ran its course, shortly after one that broke off. */
  async #drain(): Promise<void> {
    const patienceMs =
      this.#end?.ended === 'interrupted'
        ? 1000
        : this.#end?.ended === 'aborted'
          ? 2000
          : this.#options.drainMs;
    const timers: NodeJS.Timeout[] = [];
    let leave: () => void = () => {};
    const patience = new Promise<void>((resolve) => {
      timers.push(setTimeout(resolve, patienceMs));
      leave = () => timers.push(setTimeout(resolve, 1000));
    });
    this.#interrupt.addEventListener('abort', leave);
    await Promise.race([Promise.all(this.#flying), patience]);
    this.#interrupt.removeEventListener('abort', leave);
    for (const timer of timers) clearTimeout(timer);
  }

  #progress(ms: number): StepProgress {
    const { counts, sent, inFlight, latency, lateness } = this.#recorder;
    return {
      label: this.#spec.label,
      elapsedS: ms / 1000,
      plannedS: this.#plannedMs / 1000,
      sent,
      ok: counts.ok,
      shed: counts.shed,
      failed: counts.failed + counts.wrong + counts.limited,
      inFlight,
      p95Ms: latency.at(95),
      lateP99Ms: lateness.at(99),
    };
  }

  #forVerdict(ms: number): Progress {
    const recorder = this.#recorder;
    const { load } = this.#spec;
    return {
      planned: this.#due?.length ?? Math.ceil((recorder.sent / Math.max(ms, 1)) * this.#plannedMs),
      ratePerSecond: load.model === 'open' ? offeredRate(load.stretches) : null,
      elapsedMs: ms,
      done: recorder.done,
      errors: recorder.errors,
      overLimit: recorder.overLimit,
      inFlight: recorder.inFlight,
      inFlightOverLimit: recorder.inFlightOverLimit(ms),
      p95Ms: recorder.latency.at(95),
      backlogGrowth: recorder.backlogGrowth(ms),
    };
  }

  #step(held: Held): Step {
    const { slo, nodes } = this.#options;
    const { load } = this.#spec;
    const recorder = this.#recorder;
    const { counts } = recorder;
    const end: End = this.#end ?? { ended: 'complete', why: '' };
    const readings = nodes.takeReadings();
    const seconds = held.heldMs / 1000;
    const requests = counts.ok + counts.shed + counts.limited + counts.failed + counts.wrong;
    const judged = {
      model: load.model,
      offered_qps: load.model === 'open' ? round(offeredRate(load.stretches)) : null,
      seconds: round(seconds),
      requests,
      error_rate: requests === 0 ? 0 : (requests - counts.ok) / requests,
      latency_ms: recorder.latency.percentiles(),
      backlog_growth: round(held.growth),
      cpu: readings.cpu,
      worker_memory_mb: readings.workerMemoryMb,
    };
    const clauses = judge(judged, slo);
    const faults = this.#faults();
    return {
      label: this.#spec.label,
      purpose: this.#spec.purpose,
      ...judged,
      users: load.model === 'closed' ? load.users : null,
      started_s: round(this.#startedS),
      planned_seconds: this.#plannedMs / 1000,
      ...counts,
      reasons: { ...recorder.reasons },
      achieved_qps: round(perSecond(held.ok - this.#settled.ok, held.heldMs - this.#settled.ms)),
      refusal_ms: recorder.refusals.percentiles(),
      service_ms: recorder.service.percentiles(),
      stages_ms: recorder.stages(),
      generator: {
        late_p99_ms: round(recorder.lateness.at(99)),
        late_max_ms: round(recorder.lateMaxMs),
        loop_lag_p99_ms: round(held.loopLagP99Ms),
        cpu: round(held.generatorCpu),
      },
      in_flight_mean: round(held.inFlightMean),
      in_flight_max: recorder.inFlightMax,
      queue_length_max: readings.queueLength,
      cache_hits: recorder.cacheHits,
      checked: recorder.checked,
      ended: end.ended,
      why: faults.length > 0 ? faults.join('; ') : end.why,
      clauses,
      verdict: this.#verdict(faults, end, clauses),
      over_time: recorder.overTime,
    };
  }

  #verdict(faults: readonly string[], end: End, clauses: readonly Clause[]): Step['verdict'] {
    if (faults.length > 0) return 'invalid';
    if (this.#spec.grade === 'none') return 'not graded';
    // What cannot be met any more is not met, whatever the first seconds of the step looked like.
    const hopeless = end.ended === 'failed early' || end.ended === 'aborted';
    return hopeless || !met(clauses) ? 'not met' : 'met';
  }

  /** What makes the step say nothing about the server. */
  #faults(): string[] {
    const { maxLateMs, allowCache } = this.#options;
    const lateMs = this.#recorder.lateness.at(99);
    const faults: string[] = [];
    if (lateMs > maxLateMs) {
      faults.push(
        `the generator was late: 1 of 100 pictures left ${lateMs.toFixed(1)} ms or more after its due moment (allowed: ${maxLateMs} ms)`,
      );
    }
    if (this.#recorder.cacheHits > 0 && !allowCache) {
      faults.push(
        `${this.#recorder.cacheHits} answers came from a cache (X-Cache: hit) and say nothing about workers`,
      );
    }
    return faults;
  }
}

/** Figures that are taken the moment the arrivals end, before the last answers are waited for. */
interface Held {
  readonly heldMs: number;
  readonly ok: number;
  readonly inFlightMean: number;
  readonly growth: number;
  readonly loopLagP99Ms: number;
  readonly generatorCpu: number;
}

const perSecond = (count: number, ms: number) => (ms <= 0 ? 0 : Math.max(0, count) / (ms / 1000));
const round = (value: number) => Math.round(value * 100) / 100;

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** s. */
function lengthOf(load: Load): number {
  return load.model === 'closed'
    ? load.seconds
    : load.stretches.reduce((sum, { seconds }) => sum + seconds, 0);
}

/** The mean rate of all stretches. */
function offeredRate(stretches: readonly Stretch[]): number {
  const seconds = stretches.reduce((sum, stretch) => sum + stretch.seconds, 0);
  return seconds === 0
    ? 0
    : stretches.reduce((sum, stretch) => sum + stretch.rate * stretch.seconds, 0) / seconds;
}

function mostly(reasons: Readonly<Record<string, number>>): string {
  const [first] = Object.entries(reasons).sort(([, a], [, b]) => b - a);
  return first ? `mostly: ${first[0]}` : 'no reason known';
}
