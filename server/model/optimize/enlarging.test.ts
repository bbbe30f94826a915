// The network with its enlargings folded is run beside itself.

import assert from 'node:assert/strict';
import test from 'node:test';
import type { TensorFormat } from '../entries/tensor-format.ts';
import { drawPicture } from '../golden.ts';
import { writeModel } from '../onnx/model-file.ts';
import { animeganV2 } from './animegan-v2.ts';
import { withEnlargingFolded } from './enlarging.ts';
import { startTrial } from './trial.ts';

const planar: TensorFormat = {
  layout: 'NCHW',
  channels: 'RGB',
  input: { type: 'float32', range: [-1, 1] },
  output: { type: 'float32', range: [-1, 1] },
};

test('enlarging inside the convolution draws the same, but for a little at the border', async (t) => {
  const model = animeganV2(7, { widths: [8, 16, 16, 32], residuals: 1 });
  const folded = withEnlargingFolded(model);
  assert.deepEqual(
    ['Resize', 'DepthToSpace'].map((wanted) => folded.nodes.filter(({ op }) => op === wanted).length),
    [0, 2],
  );
  const [side, border] = [128, 24];
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
  assert.ok(furthest <= 2, `${furthest} levels`);
});

test('enlarging from the corner is left alone', () => {
  const model = animeganV2(7, { widths: [8, 16, 16, 32], residuals: 1 });
  const nodes = model.nodes.map((node) =>
    node.op === 'Resize'
      ? {
          ...node,
          attributes: { ...node.attributes, coordinate_transformation_mode: { string: 'asymmetric' } },
        }
      : node,
  );
  const corner = { ...model, nodes };
  assert.equal(withEnlargingFolded(corner), corner);
});
