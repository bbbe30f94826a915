// What stands behind the fronts of the balancer's bench: eight sleepers, or the real workers of one node. Says what a
// picture costs there, so that the same loads and the same ideal can be computed for both.

import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { READY_WITHIN_MS, startTrial, type Trial, trialPlace, until } from '../../ops/process/trial.ts';
import { drawPhotos, filledPhoto } from '../pictures.ts';
import { ordinaryPrefix } from '../priority.ts';
import { closedLoop, type Photos } from './clients.ts';
import { percentile } from './figures.ts';
import { type Mix, meanMs, SLEEPERS_MIX } from './trace.ts';
import { startVirtualFleet } from './virtual-fleet.ts';

/** Workers for one or more runs behind one front. */
export interface Cast {
  readonly urls: readonly string[];
  readonly sharedUrls: readonly string[];
  readonly agentUrl?: string;
  /** Kills half of the workers at once. */
  killHalf(): void;
  /** Everything is as it was before, or gone. */
  leave(): Promise<void>;
}

/** A kind of workers to measure with. */
export interface Stage {
  readonly title: string;
  readonly slots: number;
  readonly photos: Photos;
  /** What pictures cost now; measured anew for real workers, whose machine drifts. */
  mix(): Promise<Mix>;
  /** How long clients wait unless it is said otherwise. */
  readonly deadlineMs: number;
  cast(seed: number): Promise<Cast>;
  close(): Promise<void>;
}

export const UPLOAD_BYTES = 200_000;
/** What overload is promised for, and a fifth of it before sleepers, who stand for pictures of five times their ms. */
const DEADLINE_MS = 5000;
const SLEEPERS_DEADLINE_MS = DEADLINE_MS / 5;

const SLEEPERS = 8;

/** Workers that sleep. Each cast is fresh. */
export async function sleepers(): Promise<Stage> {
  // Small pictures have 0.04 megapixels and large ones 0.4, and a sleeper is told ms a megapixel.
  const photos = { small: await filledPhoto(200, UPLOAD_BYTES), large: await filledPhoto(632, UPLOAD_BYTES) };
  const service = `${SLEEPERS_MIX.smallMs / 0.04}ms/MP`;
  return {
    title: `**virtual**: ${SLEEPERS} one-slot workers on 4 nodes that sleep ${SLEEPERS_MIX.smallMs} or ${SLEEPERS_MIX.largeMs} ms`,
    slots: SLEEPERS,
    photos,
    mix: async () => SLEEPERS_MIX,
    deadlineMs: SLEEPERS_DEADLINE_MS,
    async cast(seed) {
      const start = (half: number) =>
        startVirtualFleet({ workers: SLEEPERS / 2, nodes: 2, service, seed: seed + half });
      const halves = await Promise.all([start(0), start(1000)]);
      return {
        urls: halves.flatMap(({ urls }) => urls),
        sharedUrls: halves.flatMap(({ sharedUrls }) => sharedUrls),
        killHalf: () => halves[0]?.kill(),
        leave: async () => {
          for (const half of halves) half.kill();
        },
      };
    },
    close: async () => {},
  };
}

const SMALL_SIDE = 256;
const LARGE_SIDE = 1024;
const LARGE_SHARE = 0.1;
/** Time for each of the measurements of {@link Stage.mix}, s. */
const MIX_SECONDS = 4;

/** The real workers of one node on this machine, under PM2 with their agent, drawing the embedded default. */
export async function realWorkers(workers = availableParallelism()): Promise<Stage> {
  const dir = mkdtempSync(join(tmpdir(), 'toonfleet-bench-'));
  const place = await trialPlace(dir, {
    TOONFLEET_LOG_LEVEL: 'warn',
    TOONFLEET_NODE__NAME: 'bench',
    TOONFLEET_WORKER__COUNT: String(workers),
    // Direct clients may wait as long as a balancer's do.
    TOONFLEET_WORKER__QUEUE_LENGTH: '1000',
  });
  const node = startTrial(place, { through: ordinaryPrefix(), args: ['--role', 'node'] });
  const photoOf = async (side: number) => {
    const [photo] = await drawPhotos(1, [{ width: side, height: side }]);
    if (!photo) throw new Error('no photo was drawn');
    return photo;
  };
  const photos = { small: await photoOf(SMALL_SIDE), large: await photoOf(LARGE_SIDE) };
  try {
    await node.ready;
    await allReady(node, workers);
  } catch (error) {
    await node.stop();
    rmSync(dir, { recursive: true, force: true });
    throw error;
  }
  return {
    title: `**real**: ${workers} workers of one node, embedded default, ${SMALL_SIDE} and ${LARGE_SIDE} px in, PNG out`,
    slots: workers,
    photos,
    mix: () => measuredMix(node, workers, photos),
    deadlineMs: DEADLINE_MS,
    async cast() {
      const ready = await allReady(node, workers);
      return {
        urls: ready.map(({ url }) => url),
        sharedUrls: [place.sharedUrl],
        agentUrl: place.agentUrl,
        killHalf() {
          for (const { pid } of ready.slice(0, Math.ceil(workers / 2))) process.kill(pid, 'SIGKILL');
        },
        // What a run left in the workers' own queues is drawn before the next one begins.
        async leave() {
          await allReady(node, workers);
          await until(
            async () => (await node.roster()).workers.every(({ busy }) => busy === 0),
            READY_WITHIN_MS,
            () => 'the workers did not come to rest',
          );
          await sleep(500);
        },
      };
    },
    async close() {
      await node.stop();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

async function allReady(node: Trial, workers: number) {
  const ready = async () => (await node.roster()).workers.filter(({ state }) => state === 'ready');
  await until(
    async () => (await ready()).length >= workers,
    READY_WITHIN_MS,
    () => `not all of ${workers} workers are ready:\n${node.output()}`,
  );
  return ready();
}

/**
 * What pictures cost: the median of each size alone for their relation, then the mix with a queue before every worker for the rate
 * that the node really has, since decoding and encoding overlap with the next picture's drawing.
 */
async function measuredMix(node: Trial, workers: number, photos: Photos): Promise<Mix> {
  const ports = (await allReady(node, workers)).map(({ url }) => url);
  const everywhere = async (clients: number, next: Parameters<typeof closedLoop>[1], seconds: number) =>
    (await Promise.all(ports.map((url) => closedLoop(url, next, clients, seconds)))).flat();
  const alone = async (size: keyof Photos) =>
    percentile(
      await everywhere(1, () => ({ photo: photos[size], large: size === 'large' }), MIX_SECONDS),
      50,
    );
  const measured: Mix = {
    smallMs: await alone('small'),
    largeMs: await alone('large'),
    largeShare: LARGE_SHARE,
  };
  let turn = 0;
  const mixed = () => {
    turn += 1;
    const large = turn % Math.round(1 / LARGE_SHARE) === 0;
    return { photo: photos[large ? 'large' : 'small'], large };
  };
  const began = performance.now();
  const drawn = await everywhere(3, mixed, 2 * MIX_SECONDS);
  const perSecond = (drawn.length * 1000) / (performance.now() - began);
  const factor = (workers * 1000) / perSecond / meanMs(measured);
  return {
    smallMs: measured.smallMs * factor,
    largeMs: measured.largeMs * factor,
    largeShare: LARGE_SHARE,
  };
}
