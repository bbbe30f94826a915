// Runs graphs to try them out: ONNX Runtime on the calling thread, as the workers set it up, one picture at a time.
// Blocks the thread while a graph runs: for commands, and for the inference thread before it has work.

import { InferenceSession, Tensor } from 'onnxruntime-node';
import { ModelFault } from '../entries/fault.ts';
import type { TensorFormat } from '../entries/tensor-format.ts';
import type { Pixels } from '../golden.ts';
import { SESSION_OPTIONS } from '../inference/session-options.ts';
import { fromTensor, tensorShape, toTensor } from '../inference/tensor.ts';
import type { RunResult } from './integer/observation.ts';

/** A graph that can be run. */
export interface Trial {
  /**
   * Every output, by name.
   * @throws {ModelFault} when the graph fails on the picture.
   */
  run(picture: Pixels): Promise<RunResult>;
  /** The first output as pixels, and the CPU time from pixels to pixels, in ms. */
  draw(picture: Pixels): Promise<{ data: Uint8Array; cpuMs: number }>;
  close(): Promise<void>;
}

/**
 * Loads a graph for trial.
 * @throws {ModelFault} when ONNX Runtime refuses it.
 */
export async function startTrial(file: Uint8Array, format: TensorFormat): Promise<Trial> {
  const session = await InferenceSession.create(file, SESSION_OPTIONS).catch((error: unknown) => {
    throw new ModelFault(`ONNX Runtime refuses the graph: ${(error as Error).message}`, { cause: error });
  });
  return trialOf(session, format);
}

/** A session that is open already, for trial. */
export function trialOf(session: InferenceSession, format: TensorFormat): Trial {
  const input = session.inputMetadata[0];
  const batched = !input?.isTensor || input.shape.length !== 3;
  const run = async ({ data, width, height }: Pixels): Promise<RunResult> => {
    const shape = tensorShape(format.layout, width, height, batched);
    const tensor = new Tensor(format.input.type, toTensor(data, format), shape);
    const feeds = { [session.inputNames[0] ?? '']: tensor };
    try {
      return (await session.run(feeds)) as unknown as RunResult;
    } catch (error) {
      throw new ModelFault(`the graph does not draw ${width}×${height}: ${(error as Error).message}`, {
        cause: error,
      });
    }
  };
  return {
    run,
    async draw(picture) {
      const before = process.cpuUsage();
      const result = await run(picture);
      const drawn = result[session.outputNames[0] ?? '']?.data;
      if (!(drawn instanceof Float32Array || drawn instanceof Uint8Array))
        throw new ModelFault('the graph gives neither floats nor bytes');
      const data = fromTensor(drawn, format);
      const { user, system } = process.cpuUsage(before);
      return { data, cpuMs: (user + system) / 1000 };
    },
    close: () => session.release(),
  };
}
