import assert from 'node:assert/strict';
import test from 'node:test';
import type { Pixels } from '../../golden.ts';
import type { Trial } from '../trial.ts';
import { FloatLayers } from './float-layers.ts';

const PICTURE: Pixels = { width: 16, height: 16, data: new Uint8Array(16 * 16 * 3) };

/** A double of a graph: every pixel is as far from the original's as the layers on bytes put it. */
const double = (off: number, cpuMs: number): Trial => ({
  run: () => assert.fail('only drawings are compared'),
  draw: async () => ({ data: new Uint8Array(PICTURE.data.length).fill(off), cpuMs }),
  close: async () => {},
});

/** Layers by name: how far off each puts a pixel on bytes, and what it costs as a float. */
type Layers = Readonly<Record<string, { readonly off: number; readonly costMs: number }>>;

/** The variants of a network; `together` is added where both layers of a pair are floats. */
function network(layers: Layers, together: (floats: ReadonlySet<string>) => number = () => 0) {
  const said: string[] = [];
  const start = async (floats: ReadonlySet<string>): Promise<Trial> => {
    let [off, ms] = [together(floats), 100];
    for (const [name, layer] of Object.entries(layers)) {
      if (floats.has(name)) ms += layer.costMs;
      else off += layer.off;
    }
    return double(off, ms);
  };
  const wish = {
    calibration: [PICTURE],
    leastPsnr: 35,
    leastRatio: 2,
    say: (sentence: string) => said.push(sentence),
  };
  const floats = new FloatLayers(double(0, 400), start, wish);
  const change = async (ratio = 3) =>
    floats.change(await start(floats.kept), Object.keys(layers), { worst: 30, ratio });
  return { floats, change, said };
}

test('the layer that gains most for its time stays float first, and one that gains nothing never does', async () => {
  const { floats, change } = network({
    first: { off: 2, costMs: 1 },
    dear: { off: 8, costMs: 40 },
    cheap: { off: 6, costMs: 2 },
    idle: { off: 0, costMs: 0 },
  });
  const chosen: string[] = [];
  for (let turn = 0; turn < 3; turn++) {
    await change();
    chosen.push([...floats.kept].join(' '));
  }
  assert.deepEqual(chosen, ['cheap', 'cheap first', 'cheap first dear']);
  await assert.rejects(change(), /stays below 35 dB: no layer is left/);
});

test('a layer that helps alone and hurts beside others works on bytes again', async () => {
  const layers = { one: { off: 6, costMs: 1 }, other: { off: 5, costMs: 1 }, third: { off: 4, costMs: 1 } };
  const { floats, change, said } = network(layers, (kept) => (kept.has('one') && kept.has('other') ? 9 : 0));
  await change();
  await change();
  assert.deepEqual([...floats.kept], ['one', 'other']);
  await change();
  assert.deepEqual([...floats.kept], ['one', 'third']);
  assert.ok(said.some((sentence) => /layer other does not help beside the others/.test(sentence)));
});

test('when floats cost more speed than is worth it, it ends with what was reached', async () => {
  const { change } = network({ one: { off: 6, costMs: 1 }, other: { off: 5, costMs: 1 } });
  await change();
  await assert.rejects(
    change(1.9),
    /with 1 layers as floats it still has 30.0 dB, and is only 1.90 times as fast/,
  );
});
