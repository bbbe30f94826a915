// The network with its enlargings folded is run beside itself.

import assert from 'node:assert/strict';
import test from 'node:test';
import type { TensorFormat } from '../../entries/tensor-format.ts';
import { drawPicture } from '../../golden.ts';
import { type OnnxModel, type OnnxNode, writeModel } from '../../onnx/model-file.ts';
import { animeganV2 } from '../animegan-v2.ts';
import { startTrial } from '../trial.ts';
import { withEnlargingFolded } from './enlarging.ts';

const planar: TensorFormat = {
  layout: 'NCHW',
  channels: 'RGB',
  input: { type: 'float32', range: [-1, 1] },
  output: { type: 'float32', range: [-1, 1] },
};

const small = { widths: [8, 16, 16, 32], residuals: 1 } as const;

/** The network with its enlargings from the corner, or another mode. */
function enlargedBy(model: OnnxModel, attributes: OnnxNode['attributes']): OnnxModel {
  const nodes = model.nodes.map((node) =>
    node.op === 'Resize' ? { ...node, attributes: { ...node.attributes, ...attributes } } : node,
  );
  return { ...model, nodes };
}

const fromCorner = { coordinate_transformation_mode: { string: 'asymmetric' } };

for (const { where, model, border } of [
  { where: 'but for a little at the border', model: animeganV2(7, small), border: 24 },
  {
    where: 'from the corner up to the border',
    model: enlargedBy(animeganV2(7, small), fromCorner),
    border: 0,
  },
]) {
  test(`enlarging inside the convolution draws the same, ${where}`, async (t) => {
    const folded = withEnlargingFolded(model);
    assert.deepEqual(
      ['Resize', 'DepthToSpace'].map((wanted) => folded.nodes.filter(({ op }) => op === wanted).length),
      [0, 2],
    );
    const side = 128;
    const picture = { data: drawPicture(side, side, 3), width: side, height: side };
    const drawings: Uint8Array[] = [];
    for (const each of [model, folded]) {
      const trial = await startTrial(writeModel(each), planar);
      t.after(() => trial.close());
      drawings.push(new Uint8Array((await trial.draw(picture)).data));
    }
    const [as, is] = drawings;
    let furthest = 0;
    for (let y = border; y < side - border; y++) {
      for (let at = (y * side + border) * 3; at < (y * side + side - border) * 3; at++)
        furthest = Math.max(furthest, Math.abs((as?.[at] ?? 0) - (is?.[at] ?? 255)));
    }
    assert.ok(furthest <= (border > 0 ? 2 : 1), `${furthest} levels`);
  });
}

test('enlarging that is not linear is left alone', () => {
  const model = enlargedBy(animeganV2(7, small), { mode: { string: 'nearest' } });
  assert.equal(withEnlargingFolded(model), model);
});
