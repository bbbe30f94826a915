// What a convolution gives to the rest of a float network: its own result, or that with its channels put side by side as
// twice the rows and columns, and what normalises it. Pure.

import type { OnnxNode } from '../../onnx/model-file.ts';
import { isSideBySide } from '../enlarged-convolution.ts';
import type { GraphView } from '../graph.ts';
import { type Norm, normOf } from '../norms.ts';

/** A convolution's result as the network sees it. */
export interface Result {
  /** Before its norm. */
  readonly name: string;
  readonly channels: number;
  /** What puts the four sets of channels of each pixel side by side. */
  readonly sideBySide: OnnxNode | undefined;
  readonly norm: Norm | undefined;
  /** Behind its norm. */
  readonly output: string;
}

/** The result of a convolution with constant weights. */
export function resultOf(view: GraphView, conv: OnnxNode): Result {
  const own = conv.outputs[0] ?? '';
  const all = view.constant(conv.inputs[1])?.dims[0] ?? 0;
  const next = view.onlyConsumer(own);
  const sideBySide = next && isSideBySide(next) && all % 4 === 0 ? next : undefined;
  const name = sideBySide?.outputs[0] ?? own;
  const channels = sideBySide ? all / 4 : all;
  const norm = normOf(view, name, channels);
  return { name, channels, sideBySide, norm, output: norm?.output ?? name };
}
