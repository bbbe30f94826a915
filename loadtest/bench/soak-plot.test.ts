import assert from 'node:assert/strict';
import test from 'node:test';
import sharp from 'sharp';
import { soakPlot } from './soak-plot.ts';

const samples = Array.from({ length: 50 }, (_, at) => ({
  pictures: at * 20,
  bytes: 3e8 + 1e6 * Math.sqrt(at),
}));

test('the plot of several soaks is one picture with a line and a name for each', async () => {
  const svg = soakPlot([
    { title: 'embedded <styles>', samples },
    { title: 'a heavy model', samples: samples.map((each) => ({ ...each, bytes: each.bytes * 1.4 })) },
    { title: 'another', samples: samples.slice(0, 20) },
  ]);
  assert.equal(svg.match(/class="series s\d"/g)?.length, 3);
  assert.match(svg, /embedded &#60;styles&#62; \(980 pictures\)/);
  assert.doesNotMatch(svg, /NaN|undefined/);
  const { data, info } = await sharp(Buffer.from(svg))
    .removeAlpha()
    .raw()
    .toBuffer({ resolveWithObject: true });
  // The second line's colour is somewhere on it.
  const red = Array.from({ length: info.width * info.height }, (_, at) => data.subarray(at * 3, at * 3 + 3));
  assert.ok(red.some(([r = 0, g = 0, b = 0]) => r > 190 && g < 110 && b < 120));
});

test('more soaks than there are colours are still told apart', () => {
  const svg = soakPlot(Array.from({ length: 9 }, (_, at) => ({ title: `soak ${at}`, samples })));
  const looks = svg.match(/\.series\.s\d path\{[^}]*\}/g)?.map((rule) => rule.replace(/^[^{]*/, ''));
  assert.equal(new Set(looks).size, 9);
});
