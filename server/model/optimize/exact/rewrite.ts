// The exact rewrites in their order: the same picture, to the last rounding, from less work. Each finds its pattern or
// leaves the graph alone; whether the whole is right is proven by running both graphs (see the caller). Pure.

import type { TensorFormat } from '../../entries/tensor-format.ts';
import type { OnnxModel } from '../../onnx/model-file.ts';
import { withoutDead } from '../graph.ts';
import { withAffineNorms } from './affine-norms.ts';
import { withBytes } from './bytes.ts';
import { withoutIdlePads } from './idle-pads.ts';
import { withPhasedOutput } from './output.ts';
import { withoutUpsampling } from './upsample.ts';

/**
 * Rewrites a generator for any CPU.
 * @param format What the file itself takes and gives.
 * @param multiple What both sides of a picture are multiples of; an odd one leaves the output's convolution as it is.
 * @returns A graph that takes and gives pixels (PIXEL_FORMAT).
 */
export function exactRewrite(model: OnnxModel, format: TensorFormat, multiple: number): OnnxModel {
  const lean = withoutUpsampling(withAffineNorms(withoutIdlePads(model)));
  const { graph, planes } = withPhasedOutput(lean, format.layout, multiple % 2 === 0);
  return withoutDead(withBytes(graph, format, planes));
}
