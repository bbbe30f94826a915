// Paddings by nothing: converters write them before every 1×1 convolution, and each copies a whole layer. Pure.

import type { OnnxModel } from '../../onnx/model-file.ts';

/** The graph without paddings by nothing. */
export function withoutIdlePads(model: OnnxModel): OnnxModel {
  const same = new Map<string, string>();
  for (const { op, inputs, outputs } of model.nodes) {
    const pads = op === 'Pad' ? model.constants.get(inputs[1] ?? '') : undefined;
    const [input, output] = [inputs[0], outputs[0]];
    const leaves = model.outputs.some(({ name }) => name === output);
    if (pads?.values.every((value) => value === 0) && input && output && !leaves)
      same.set(output, same.get(input) ?? input);
  }
  const nodes = model.nodes
    .filter(({ outputs }) => !same.has(outputs[0] ?? ''))
    .map((node) => ({ ...node, inputs: node.inputs.map((name) => same.get(name) ?? name) }));
  return { ...model, nodes };
}
