// A node in a few numbers: how many pictures a second, how long they take, what fails, what it costs. Pure.

import type { WorkerReport } from '../../config/contract.ts';
import { type Snapshot, totalOf } from './aggregate.ts';

/** Rates are means over this time. */
const WINDOW_MS = 60_000;

/** One look at the counters. */
export interface Sample {
  readonly at: number;
  readonly pictures: number;
  readonly failed: number;
  readonly stageSeconds: number;
}

/** The numbers of `GET /internal/stats`. */
export interface NodeStats {
  readonly workers: number;
  readonly ready: number;
  readonly slots: number;
  readonly busy: number;
  readonly pictures_total: number;
  readonly pictures_per_second: number;
  readonly mean_ms: number;
  readonly failed_total: number;
  readonly resident_memory_bytes: number;
  readonly cpu_ratio: number;
}

/** Reads a sample from the node's sum. Only answers of our own fault count as failed. */
export function sampleOf(sum: Snapshot, now: number): Sample {
  return {
    at: now,
    pictures: totalOf(sum, 'toonfleet_worker_requests_total', ({ status }) => /^2/.test(String(status))),
    failed: totalOf(sum, 'toonfleet_worker_requests_total', ({ status }) => /^5/.test(String(status))),
    stageSeconds: totalOf(sum, 'toonfleet_stage_duration_seconds_sum'),
  };
}

/** Adds a sample and drops those that are older than the window needs. */
export function keepSample(samples: readonly Sample[], sample: Sample): Sample[] {
  return [...samples.filter(({ at }) => sample.at - at <= WINDOW_MS), sample];
}

/** The node's numbers from the samples of the window and what its workers last said. */
export function statsOf(
  samples: readonly Sample[],
  reports: readonly WorkerReport[],
  cpuRatio: number,
): NodeStats {
  const first = samples[0];
  const last = samples.at(-1);
  const pictures = (last?.pictures ?? 0) - (first?.pictures ?? 0);
  const seconds = ((last?.at ?? 0) - (first?.at ?? 0)) / 1000;
  const spent = (last?.stageSeconds ?? 0) - (first?.stageSeconds ?? 0);
  const add = (of: (report: WorkerReport) => number) => reports.reduce((sum, report) => sum + of(report), 0);
  return {
    workers: reports.length,
    ready: reports.filter(({ state }) => state === 'ready').length,
    slots: add(({ slots }) => slots),
    busy: add(({ busy }) => busy),
    pictures_total: last?.pictures ?? 0,
    pictures_per_second: seconds > 0 ? pictures / seconds : 0,
    mean_ms: pictures > 0 ? (spent / pictures) * 1000 : 0,
    failed_total: last?.failed ?? 0,
    resident_memory_bytes: add(({ rss_bytes }) => rss_bytes),
    cpu_ratio: cpuRatio,
  };
}

/** The numbers as Prometheus text. */
export function statsText(node: string, stats: NodeStats): string {
  return Object.entries(stats)
    .map(
      ([name, value]) =>
        `# TYPE toonfleet_stats_${name} gauge\ntoonfleet_stats_${name}{node="${node}"} ${value}\n`,
    )
    .join('');
}
