// The agent's second hand: every second it looks after late workers, gathers what all have counted, and reads the
// machine. Owns the timer; what follows from an answer is decided in roster.ts and aggregate.ts.

import type { WorkerReport } from '../../config/contract.ts';
import { lastBackup } from '../process/backup-status.ts';
import type { Log } from '../process/log.ts';
import type { AgentMetrics } from '../process/metrics.ts';
import type { Tally } from './aggregate.ts';
import type { Ask } from './ask.ts';
import { machineCpu, machineDisk, machineMemory, processCpu } from './machine.ts';
import type { Roster } from './roster.ts';
import { keepSample, type NodeStats, type Sample, sampleOf, statsOf } from './stats.ts';
import type { Found, WorkerCpu } from './worker-cpu.ts';

const TICK_MS = 1_000;

/** What the watch works with. */
export interface WatchParts {
  readonly roster: Roster;
  readonly tally: Tally;
  readonly ask: Ask;
  readonly cpu: WorkerCpu;
  readonly metrics: AgentMetrics;
  readonly log: Log;
  /** What is kept here: its file system and the last backup are told. */
  readonly dataDir: string;
  /** Resident memory at which a worker gives way, bytes; 0 is never. */
  readonly maxMemory: number;
  /** Called when a worker came or went, so that the next life of the agent knows. */
  readonly changed: () => void;
}

/** One life of one worker; a new process under the same id counts from zero. */
export const sourceOf = ({ id, pid }: Pick<WorkerReport, 'id' | 'pid'>) => `${id}:${pid}`;

/** Looks after the workers of one node. */
export class Watch {
  readonly #parts: WatchParts;
  #timer: NodeJS.Timeout | undefined;
  #round: Promise<void> | undefined;
  #samples: Sample[] = [];
  #cpu = machineCpu();
  #cpuRatio = 0;

  constructor(parts: WatchParts) {
    this.#parts = parts;
  }

  /** Looks once, then every second until {@link stop}. */
  async start(): Promise<void> {
    await this.look();
    this.#timer = setInterval(() => void this.look(), TICK_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** One round; whoever asks during a round gets that round. */
  look(): Promise<void> {
    this.#round ??= this.#look().finally(() => {
      this.#round = undefined;
    });
    return this.#round;
  }

  /** A worker says goodbye: its last counts are taken while it still answers. */
  async goodbye(id: string): Promise<void> {
    const worker = this.#parts.roster.reports().find((report) => report.id === id);
    if (!worker) return;
    await this.#gather(worker);
    this.#remove(worker, 'said goodbye', 'info');
  }

  /** The node in a few numbers, as of the last round. */
  stats(): NodeStats {
    return statsOf(this.#samples, this.#parts.roster.reports(), this.#cpuRatio);
  }

  async #look(): Promise<void> {
    const { roster, tally } = this.#parts;
    await Promise.all(roster.late(Date.now()).map((worker) => this.#probe(worker)));
    await Promise.all(roster.reports().map((worker) => this.#gather(worker)));
    this.#measure();
    this.#samples = keepSample(this.#samples, sampleOf(tally.sum(), Date.now()));
  }

  async #probe(worker: WorkerReport): Promise<void> {
    const { roster, ask } = this.#parts;
    const probe = await ask.report(worker);
    if (!roster.probed(worker.id, probe, Date.now())) return;
    this.#parts.metrics.crashes.inc();
    this.#remove(worker, `is gone (${probe.kind})`, 'warn');
  }

  async #gather(worker: WorkerReport): Promise<void> {
    const snapshot = await this.#parts.ask.metrics(worker);
    if (snapshot) this.#parts.tally.take(sourceOf(worker), snapshot);
  }

  #remove(worker: WorkerReport, why: string, level: 'info' | 'warn'): void {
    const { roster, tally, log, changed } = this.#parts;
    roster.leave(worker.id);
    tally.bury(sourceOf(worker), Date.now());
    log[level]({ worker: worker.id, worker_pid: worker.pid }, `worker ${why}`);
    changed();
  }

  #measure(): void {
    const { metrics, roster, dataDir, maxMemory } = this.#parts;
    const cpu = machineCpu();
    const busy = Math.max(0, cpu.busy - this.#cpu.busy);
    const idle = Math.max(0, cpu.idle - this.#cpu.idle);
    this.#cpu = cpu;
    if (busy + idle > 0) this.#cpuRatio = busy / (busy + idle);
    metrics.cpuSeconds.inc({ mode: 'busy' }, busy);
    metrics.cpuSeconds.inc({ mode: 'idle' }, idle);
    metrics.cpuRatio.set(this.#cpuRatio);
    const memory = machineMemory();
    metrics.memory.set({ kind: 'used' }, memory.used);
    metrics.memory.set({ kind: 'total' }, memory.total);
    this.#measureKept(dataDir);

    for (const gauge of [
      metrics.workers,
      metrics.workerCpuSeconds,
      metrics.workerMemory,
      metrics.workerMemoryLimit,
      metrics.workerLag,
    ])
      gauge.reset();
    const found: Found[] = [];
    for (const { id, pid, state, rss_bytes, event_loop_lag_ms } of roster.reports()) {
      const cpuSeconds = processCpu(pid);
      found.push({ pid, ready: state === 'ready', cpuSeconds });
      metrics.workers.inc({ state });
      metrics.workerMemory.set({ worker: id }, rss_bytes);
      metrics.workerMemoryLimit.set({ worker: id }, maxMemory || memory.total);
      metrics.workerLag.set({ worker: id }, event_loop_lag_ms / 1000);
      metrics.workerCpuSeconds.set({ worker: id }, cpuSeconds ?? 0);
    }
    this.#parts.cpu.note(found, Date.now());
  }
  #measureKept(dataDir: string): void {
    const { metrics } = this.#parts;
    const disk = machineDisk(dataDir);
    metrics.disk.reset();
    if (disk) {
      metrics.disk.set({ kind: 'free' }, disk.free);
      metrics.disk.set({ kind: 'total' }, disk.total);
    }
    const backup = lastBackup(dataDir);
    if (backup === undefined) metrics.backup.remove();
    else metrics.backup.set(backup);
  }
}
