// How ONNX Runtime runs a graph here: in workers, and where graphs are tried as workers would run them.

import type { InferenceSession } from 'onnxruntime-node';

import type { ExecutionProvider } from '../../../config/schema.ts';

/**
 * One thread, since a worker has one core. No arena: each session would keep the memory of its largest picture for ever,
 * and share it with no other (measured with four embedded styles and AnimeGANv3 tiny after 1024 px: 1.6 GB with arenas,
 * 0.5 GB without; equally fast up to 512 px). Above that `GLIBC_TUNABLES=glibc.malloc.hugetlb=1` halves the cost of taking
 * memory anew: 0.65 s instead of 1.2 s for tiny at 1024 px.
 */
export const SESSION_OPTIONS: InferenceSession.SessionOptions = {
  executionProviders: ['cpu'],
  intraOpNumThreads: 1,
  interOpNumThreads: 1,
  executionMode: 'sequential',
  graphOptimizationLevel: 'all',
  enableCpuMemArena: false,
  // A pattern is kept for each shape that ever came, and photos come in many.
  enableMemPattern: false,
  logSeverityLevel: 3,
  // Only the first session of a thread decides it for the calling thread, so every session carries it.
  extra: { session: { set_denormal_as_zero: '1' } },
};

/** What a graph is run on, and on what. */
export interface Runs {
  readonly providers: readonly ExecutionProvider[];
  /** Which of several devices of a kind this process computes on. */
  readonly device: number;
  /**
   * Whether every picture has the same size. Then ONNX Runtime takes one block for all that lies between two layers, laid out
   * once: AnimeGANv3 Hayao 36 at its peak has 365 to 421 MB instead of 454 to 478 MB, in a process that does nothing else.
   */
  readonly oneSize: boolean;
}

/** The same on other providers, or for one size. */
export function sessionOptions({ providers, device, oneSize }: Runs): InferenceSession.SessionOptions {
  const executionProviders = providers.map((name) =>
    name === 'cuda' || name === 'tensorrt' ? { name, deviceId: device } : name,
  );
  return { ...SESSION_OPTIONS, executionProviders, enableMemPattern: oneSize };
}
