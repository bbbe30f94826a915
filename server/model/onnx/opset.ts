// Raises a graph to an operator set that the rewrites know: older ones wrote some steps down differently, with attributes
// where there are inputs now, and some under another name. A step whose meaning changed and is not known here is refused
// by its name. Pure; ONNX's changelog of operators (docs/Changelog.md of onnx) is what each line follows.

import {
  type Attribute,
  type OnnxModel,
  type OnnxNode,
  type OnnxTensor,
  UnreadableModel,
} from './model-file.ts';

/** What graphs are raised to: the first in which Shape gives single sides, which the rewrites need. */
export const RECENT_OPSET = 15;
/** Before it some broadcasting was written with attributes of its own. */
const OLDEST_OPSET = 7;
/** Files before it list every constant as an input too. */
const RECENT_IR = 8;

/** Steps that mean the same in every operator set from the oldest to the recent one, as far as drawing needs them. */
const UNCHANGED = new Set(
  (
    'Abs Add And AveragePool Cast Ceil Concat Constant ConstantOfShape Conv ConvTranspose Cos DepthToSpace Div Elu ' +
    'Equal Erf Exp Expand Flatten Floor Gather Gemm GlobalAveragePool GlobalMaxPool Greater HardSigmoid Identity ' +
    'InstanceNormalization LeakyRelu Less Log MatMul Max MaxPool Mean Min Mul Neg Not Or PRelu Pow Reciprocal ' +
    'ReduceL2 ReduceMax ReduceMean ReduceMin ReduceProd ReduceSumSquare Relu Reshape Round Selu Shape Sigmoid Sign ' +
    'Sin Softplus SpaceToDepth Sqrt Sub Sum Tanh Tile Transpose Where'
  ).split(' '),
);

/** Makes constants of their own for what used to be attributes. */
type Constants = (values: readonly number[] | number, type: OnnxTensor['type']) => string;

/**
 * The graph with at least {@link RECENT_OPSET}; one that has it already comes back as it is.
 * @throws {UnreadableModel} that names the step which is not understood.
 */
export function withRecentOpset(model: OnnxModel): OnnxModel {
  const opset = model.opsets[''] ?? 0;
  if (opset >= RECENT_OPSET) return model;
  if (opset < OLDEST_OPSET)
    throw new UnreadableModel(
      `its operator set ${opset} is older than ${OLDEST_OPSET}; convert it with onnx.version_converter first`,
    );
  const constants = new Map(model.constants);
  const constant: Constants = (given, type) => {
    const name = `raised_constant_${constants.size}`;
    const values = typeof given === 'number' ? [given] : given;
    const dims = typeof given === 'number' ? [] : [values.length];
    constants.set(name, {
      type,
      dims,
      values: type === 'float32' ? Float32Array.from(values) : Float64Array.from(values),
    });
    return name;
  };
  const nodes = model.nodes.map((node) => raised(node, opset, model, constant));
  return {
    ...model,
    irVersion: Math.max(RECENT_IR, model.irVersion),
    opsets: { ...model.opsets, '': RECENT_OPSET },
    nodes,
    constants,
  };
}

function raised(node: OnnxNode, opset: number, model: OnnxModel, constant: Constants): OnnxNode {
  if (node.domain !== '' || UNCHANGED.has(node.op)) return node;
  const { attributes } = node;
  const [input = ''] = node.inputs;
  switch (node.op) {
    case 'BatchNormalization':
      if (intAt(attributes, 'spatial', 1) !== 1) break;
      return { ...node, attributes: without(attributes, 'spatial') };
    case 'Dropout':
      if (node.outputs.length > 1 && node.outputs[1] !== '') break;
      return { ...node, op: 'Identity', inputs: [input], outputs: node.outputs.slice(0, 1), attributes: {} };
    case 'Pad':
      return opset < 11 ? padded(node, constant) : node;
    case 'Clip':
      return opset < 11 ? clipped(node, constant) : node;
    case 'Slice':
      return opset < 10 ? sliced(node, constant) : node;
    case 'Upsample':
      return enlarged(node, scalesOf(node, constant));
    case 'Resize':
      // Set 10 knew no way of placing pixels but this one, and made smaller by a rule of its own.
      if (opset >= 11) return withoutEmpty(node, model);
      if (!enlarges(model.constants.get(node.inputs[1] ?? ''))) break;
      return enlarged(node, node.inputs[1] ?? '');
    case 'Squeeze':
    case 'Unsqueeze':
    case 'ReduceSum':
      return opset < 13 ? withInput(node, 'axes', constant) : node;
    case 'Split':
      return opset < 13 ? withInput(node, 'split', constant) : node;
  }
  throw new UnreadableModel(
    `its operator set is ${opset}, in which ${node.op} means something else than in ${RECENT_OPSET}; convert it with ` +
      'onnx.version_converter first',
  );
}

function padded(node: OnnxNode, constant: Constants): OnnxNode {
  const { pads, paddings, value } = node.attributes;
  const list = pads ?? paddings;
  const by = list && 'ints' in list ? list.ints : [];
  const filling = value && 'float' in value ? [constant(value.float, 'float32')] : [];
  return {
    ...node,
    inputs: [node.inputs[0] ?? '', constant(by, 'int64'), ...filling],
    attributes: without(node.attributes, 'pads', 'paddings', 'value'),
  };
}

function clipped(node: OnnxNode, constant: Constants): OnnxNode {
  const bound = (name: string) => {
    const found = node.attributes[name];
    return found && 'float' in found ? constant(found.float, 'float32') : '';
  };
  return {
    ...node,
    inputs: [node.inputs[0] ?? '', bound('min'), bound('max')],
    attributes: without(node.attributes, 'min', 'max'),
  };
}

function sliced(node: OnnxNode, constant: Constants): OnnxNode {
  const list = (name: string) => {
    const found = node.attributes[name];
    return found && 'ints' in found ? found.ints : undefined;
  };
  const starts = list('starts') ?? [];
  const axes = list('axes') ?? starts.map((_, at) => at);
  return {
    ...node,
    inputs: [
      node.inputs[0] ?? '',
      constant(starts, 'int64'),
      constant(list('ends') ?? [], 'int64'),
      constant(axes, 'int64'),
    ],
    attributes: without(node.attributes, 'starts', 'ends', 'axes'),
  };
}

/** Set 7 had an enlarging's scales as an attribute. */
function scalesOf(node: OnnxNode, constant: Constants): string {
  const { scales } = node.attributes;
  return scales && 'floats' in scales ? constant(scales.floats, 'float32') : (node.inputs[1] ?? '');
}

/** Upsample, and Resize of set 10: pixels from the top left corner. */
function enlarged(node: OnnxNode, scales: string): OnnxNode {
  const { mode } = node.attributes;
  const linear = mode !== undefined && 'string' in mode && mode.string !== 'nearest';
  return {
    ...node,
    op: 'Resize',
    inputs: [node.inputs[0] ?? '', '', scales],
    attributes: {
      mode: { string: linear ? 'linear' : 'nearest' },
      coordinate_transformation_mode: { string: 'asymmetric' },
      ...(linear ? {} : { nearest_mode: { string: 'floor' } }),
    },
  };
}

const enlarges = (scales: OnnxTensor | undefined) => scales?.values.every((value) => value >= 1) === true;

/** What is not wanted used to be an empty list. */
function withoutEmpty(node: OnnxNode, { constants }: OnnxModel): OnnxNode {
  return {
    ...node,
    inputs: node.inputs.map((name, at) => (at > 0 && constants.get(name)?.values.length === 0 ? '' : name)),
  };
}

/** An attribute that became an input. */
function withInput(node: OnnxNode, name: string, constant: Constants): OnnxNode {
  const found = node.attributes[name];
  const given = found && 'ints' in found ? [constant(found.ints, 'int64')] : [];
  return {
    ...node,
    inputs: [node.inputs[0] ?? '', ...given],
    attributes: without(node.attributes, name),
  };
}

function without(attributes: OnnxNode['attributes'], ...names: string[]): Record<string, Attribute> {
  return Object.fromEntries(Object.entries(attributes).filter(([name]) => !names.includes(name)));
}

function intAt(attributes: OnnxNode['attributes'], name: string, fallback: number): number {
  const found = attributes[name];
  return found && 'int' in found ? found.int : fallback;
}
