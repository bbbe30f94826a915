// The whole product for the time of a bench, with embedded styles or with a model that was added to them.

import { availableParallelism } from 'node:os';
import { INTERNAL_PATHS, workerReportSchema } from '../../config/contract.ts';
import {
  READY_WITHIN_MS,
  startTrial,
  type TrialPlace,
  toonfleet,
  trialPlace,
  until,
} from '../../ops/process/trial.ts';
import { familyCpuSeconds } from './family-cpu.ts';

/** A running balancer, agent and workers. */
export interface Service {
  readonly url: string;
  readonly place: TrialPlace;
  readonly workers: number;
  /** The workers' own ports, and the processes behind them. */
  workerPorts(): Promise<{ readonly url: string; readonly pid: number }[]>;
  /** CPU time of all its processes so far, s. */
  cpuSeconds(): number;
  /** Resident bytes of each worker. */
  workerMemory(): Promise<number[]>;
  /** All that it has printed. */
  readonly output: () => string;
  stop(): Promise<void>;
}

/** A model that is added for a bench, as the style `bench`. */
export interface AddedModel {
  readonly file: string;
  /** A folder of photos to make its int8 variant with; without it it stays floats. */
  readonly int8From?: string | undefined;
}

/** Starts the service with the embedded styles, and with a model added to them when one is given. */
export async function startService(
  dataDir: string,
  model: AddedModel | undefined,
  workers = availableParallelism(),
  env: Readonly<Record<string, string>> = {},
): Promise<Service> {
  const place = await trialPlace(dataDir, {
    TOONFLEET_LOG_LEVEL: 'warn',
    TOONFLEET_NODE__NAME: 'bench',
    TOONFLEET_WORKER__COUNT: String(workers),
    ...env,
  });
  if (model !== undefined) await addModel(place, model);
  const trial = startTrial(place);
  try {
    await trial.ready;
    const ready = async () => (await trial.roster()).workers.filter(({ state }) => state === 'ready');
    await until(
      async () => (await ready()).length >= workers,
      READY_WITHIN_MS,
      () => `not all of ${workers} workers became ready:\n${trial.output()}`,
    );
    return {
      url: place.url,
      place,
      workers,
      output: trial.output,
      cpuSeconds: () => familyCpuSeconds(trial.pid),
      workerPorts: async () => (await ready()).map(({ url, pid }) => ({ url, pid })),
      async workerMemory() {
        const reports = (await ready()).map(async ({ url }) => {
          const answer = await fetch(`${url}${INTERNAL_PATHS.workerReport}`);
          return workerReportSchema.parse(await answer.json()).rss_bytes;
        });
        return Promise.all(reports);
      },
      stop: async () => void (await trial.stop()),
    };
  } catch (error) {
    await trial.stop();
    throw error;
  }
}

async function addModel(place: TrialPlace, { file, int8From }: AddedModel): Promise<void> {
  const run = async (what: string, ...words: string[]) => {
    const { code, output } = await toonfleet(place, 'models', ...words);
    if (code !== 0) throw new Error(`the model could not be ${what}:\n${output}`);
  };
  const licence = ['--licence', 'for this bench only', '--accept-licence'];
  const sizes = ['--multiple', '16', '--min-side', '256'];
  await run('added', 'add', file, '--name', 'bench', '--style', 'bench:Bench', ...licence, ...sizes);
  if (int8From !== undefined) await run('made int8', 'optimize', 'bench', '--int8', '--photos', int8From);
}
