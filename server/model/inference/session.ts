// The main thread's face of the inference thread: load a model, draw pixels. Knows messages and threads, no HTTP.

import { Worker } from 'node:worker_threads';
import type { Face } from '../../faces/detection.ts';
import type { Mask } from '../../faces/mask.ts';
import type { Canvas, CropPlan } from '../../faces/warp.ts';
import type { DetectorSpec } from '../entries/face-entries.ts';
import { FileFault, ModelFault, ProviderFault } from '../entries/fault.ts';
import type { InstalledDetector, InstalledModel } from '../entries/installed.ts';
import type { Pixels } from '../golden.ts';
import type { ExactOrder } from '../variants/exact-order.ts';
import type { Chosen } from '../variants/exact-variant.ts';
import type { ModelIo, ThreadData, ThreadReply, ThreadRequest } from './messages.ts';
import { threadEntry } from './thread-entry.ts';

/** What a model drew, and how long that took. */
export interface Drawing extends Pixels {
  readonly ms: number;
}

/** Draws pictures in a thread of its own. */
export interface Inference {
  /**
   * Loads a model; a model of the same name gives way.
   * @param exact Where a faster graph of the same drawing may be kept; without it the file is served as it is.
   * @throws {FileFault} when the file is missing, damaged, or not a generator of its own; {ProviderFault} when what is to
   * compute it is not there.
   */
  load(
    model: Pick<InstalledModel, 'name' | 'path' | 'execution_providers' | 'fixed_size'> & {
      sha256?: string | undefined;
    },
    exact?: ExactOrder,
  ): Promise<LoadedModel>;
  /**
   * Draws one picture with a loaded model. Takes the whole buffer of `pixels` away from the caller.
   * @throws {ModelFault} when the model fails on it.
   */
  run(model: Pick<InstalledModel, 'name' | TensorKeys>, pixels: Pixels): Promise<Drawing>;
  /**
   * Loads a detector of faces; one of the same name gives way.
   * @returns The SHA-256 of its file.
   * @throws {ModelFault} as {@link load}.
   */
  loadDetector(
    detector: Pick<InstalledDetector, 'name' | 'path'> & { sha256?: string | undefined },
  ): Promise<string>;
  /**
   * Looks for faces with a loaded detector. Takes the whole buffer of `pixels` away from the caller.
   * @throws {ModelFault} when it fails on them, or has other outputs than its entry says.
   */
  detect(detector: DetectorSpec & { readonly name: string }, pixels: Pixels): Promise<Found>;
  /**
   * Draws one face with a loaded model and lays it over a drawing. Takes the buffers of both canvases away and gives them
   * back.
   * @throws {ModelFault} when the model fails on it; the canvases are lost then.
   */
  drawFace(model: Pick<InstalledModel, 'name' | TensorKeys>, work: FaceWork): Promise<DrawnFace>;
  /** Ends the thread. */
  close(): Promise<void>;
}

type TensorKeys = 'layout' | 'channels' | 'input' | 'output';

/** What a detector found, in px of what it was given. */
export interface Found {
  readonly faces: readonly Face[];
  /** Its outputs in short, by which it is proven. */
  readonly means: readonly number[];
  readonly ms: number;
}

/** One face of a photo, to be drawn over what was made of the photo; both have the same size. */
export interface FaceWork {
  readonly photo: Canvas;
  readonly drawing: Canvas;
  readonly plan: CropPlan;
  readonly mask: Mask;
}

/** The same canvases, with the face drawn. */
export interface DrawnFace extends Pick<FaceWork, 'photo' | 'drawing'> {
  readonly ms: number;
}

/** What loading tells about a model's file. */
export interface LoadedModel {
  readonly io: ModelIo;
  readonly sha256: string;
  readonly variant: Chosen['variant'];
  /** Why the file is served as it is, where a faster graph was asked for. */
  readonly why: string | undefined;
}

/** The thread makes large buffers and little else: a small nursery lets go of them soon. */
const THREAD_LIMITS = { maxYoungGenerationSizeMb: 4 };

/**
 * Starts the inference thread.
 * @param onDeath Called once when the thread ends without having been closed; nothing can be drawn any more.
 * @param device Which of several devices of a kind it computes on.
 */
export function startInference(onDeath: (reason: Error) => void, device = 0): Inference {
  const workerData: ThreadData = { device };
  const worker = new Worker(threadEntry(), { resourceLimits: THREAD_LIMITS, workerData });
  const waiting = new Map<
    number,
    { resolve: (reply: ThreadReply) => void; reject: (error: Error) => void }
  >();
  let lastId = 0;
  let closed = false;

  const died = (reason: Error) => {
    if (closed) return;
    closed = true;
    for (const { reject } of waiting.values()) reject(reason);
    waiting.clear();
    onDeath(reason);
  };
  worker.on('error', (error) => died(new Error('the inference thread failed', { cause: error })));
  worker.on('exit', (code) => died(new Error(`the inference thread ended with code ${code}`)));
  worker.on('message', (reply: ThreadReply) => {
    waiting.get(reply.id)?.resolve(reply);
    waiting.delete(reply.id);
  });

  const ask = (request: ThreadRequest, transfer: ArrayBuffer[] = []): Promise<ThreadReply> =>
    new Promise((resolve, reject) => {
      if (closed) {
        reject(new Error('the inference thread is gone'));
        return;
      }
      waiting.set(request.id, { resolve, reject });
      worker.postMessage(request, transfer);
    });

  return {
    async load({ name, path, sha256, execution_providers: providers = ['cpu'], fixed_size }, exact) {
      const oneSize = fixed_size !== undefined;
      const reply = await ask({ kind: 'load', id: ++lastId, name, path, sha256, exact, oneSize, providers });
      if (reply.kind === 'loaded')
        return { io: reply.io, sha256: reply.sha256, variant: reply.variant, why: reply.why };
      if (reply.kind === 'fault' && reply.provider)
        throw new ProviderFault(
          `model ${name}: ${faultOf(reply)}; set models.execution_providers, or execution_providers of its manifest entry, to what is there, such as ["cpu"]`,
        );
      throw new FileFault(`model ${name} (${path}): ${faultOf(reply)}`);
    },
    async run({ name, layout, channels, input, output }, { data, width, height }) {
      const format = { layout, channels, input, output };
      const request = { kind: 'run', id: ++lastId, name, format, pixels: data, width, height } as const;
      const reply = await ask(request, [data.buffer]);
      if (reply.kind !== 'drawn') throw new ModelFault(`model ${name}: ${faultOf(reply)}`);
      return { data: reply.pixels as Uint8Array<ArrayBuffer>, width, height, ms: reply.ms };
    },
    async loadDetector({ name, path, sha256 }) {
      const reply = await ask({ kind: 'load-detector', id: ++lastId, name, path, sha256 });
      if (reply.kind === 'detector-loaded') return reply.sha256;
      throw new ModelFault(`detector ${name} (${path}): ${faultOf(reply)}`);
    },
    async detect({ name, ...spec }, { data, width, height }) {
      const request = { kind: 'detect', id: ++lastId, name, spec, pixels: data, width, height } as const;
      const reply = await ask(request, [data.buffer]);
      if (reply.kind === 'detected') return reply;
      throw new ModelFault(`detector ${name}: ${faultOf(reply)}`);
    },
    async drawFace({ name, layout, channels, input, output }, { photo, drawing, plan, mask }) {
      const format = { layout, channels, input, output };
      const reply = await ask({ kind: 'draw-face', id: ++lastId, name, format, photo, drawing, plan, mask }, [
        photo.data.buffer,
        drawing.data.buffer,
      ]);
      if (reply.kind === 'face-drawn') return reply;
      throw new ModelFault(`model ${name}: ${faultOf(reply)}`);
    },
    async close() {
      closed = true;
      await worker.terminate();
    },
  };
}

/** Does some work with an inference thread of its own. */
export async function withInference<T>(work: (inference: Inference) => Promise<T>): Promise<T> {
  const inference = startInference((reason) => {
    throw reason;
  });
  try {
    return await work(inference);
  } finally {
    await inference.close();
  }
}

function faultOf(reply: ThreadReply): string {
  return reply.kind === 'fault' ? reply.fault : `answered ${reply.kind}`;
}
