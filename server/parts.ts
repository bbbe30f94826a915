// The parts that a worker is made of, as its routes see them.

import type { WorkerReport } from '../config/contract.ts';
import type { LoadedSettings } from '../config/load.ts';
import type { Log } from '../ops/process/log.ts';
import type { WorkerMetrics } from '../ops/process/metrics.ts';
import type { Site } from '../ops/process/site.ts';
import type { Inference } from './model/inference/session.ts';
import type { Library } from './model/library.ts';
import type { SpareMemory } from './pipeline/spare-memory.ts';
import type { Readiness } from './readiness.ts';
import type { ResultStore } from './results/store.ts';
import type { Slot } from './slot.ts';
import type { Speed } from './speed.ts';

/** Slices of the settings that a worker's routes need. */
export type WorkerSettings = Pick<LoadedSettings, 'limits' | 'node' | 'balancer' | 'models' | 'worker'>;

export interface WorkerParts {
  readonly settings: WorkerSettings;
  /** The models; undefined until they are loaded. */
  readonly library: () => Library | undefined;
  readonly inference: Inference;
  /** One for all paths, since what one picture leaves behind any other can use. */
  readonly memory: SpareMemory;
  readonly readiness: Readiness;
  readonly slot: Slot;
  readonly results: ResultStore;
  readonly site: Site;
  readonly metrics: WorkerMetrics;
  readonly speed: Speed;
  readonly report: () => WorkerReport;
  readonly log: Log;
}
