// The rival of every worker bench: the model alone. One process, one thread, session.run in a loop over inputs of the
// given shapes for the given time, and nothing else: no decoding, no encoding, no HTTP.
//
// Run by the benches as: bare-model MODEL.onnx SECONDS '[[height,width],…]'; prints {pictures, seconds, cpuSeconds}
// as JSON.

import { performance } from 'node:perf_hooks';
import { InferenceSession, Tensor } from 'onnxruntime-node';

const [file = '', seconds = '10', shapes = '[[512,512]]'] = process.argv.slice(2);
const sizes = JSON.parse(shapes) as [height: number, width: number][];

const session = await InferenceSession.create(file, {
  intraOpNumThreads: 1,
  interOpNumThreads: 1,
  executionMode: 'sequential',
  graphOptimizationLevel: 'all',
});
const input = session.inputMetadata[0];
if (!input?.isTensor) throw new Error(`${file} has no tensor input`);
const { name, type, shape } = input;
const planar = shape[1] === 3;

/** A picture-like input: smooth, so that no value is special. A model of one size has it, whatever the photo's is. */
function feed([height, width]: [number, number]): Tensor {
  const asked = planar ? [1, 3, height, width] : [1, height, width, 3];
  const dims = asked.map((side, axis) =>
    typeof shape[axis] === 'number' && shape[axis] > 0 ? shape[axis] : side,
  );
  const length = dims.reduce((product, side) => product * side, 1);
  if (type === 'uint8')
    return new Tensor(
      'uint8',
      Uint8Array.from({ length }, (_, i) => (i * 7) % 256),
      dims,
    );
  return new Tensor(
    'float32',
    Float32Array.from({ length }, (_, i) => Math.sin(i / 997)),
    dims,
  );
}

const feeds = sizes.map((size) => ({ [name]: feed(size) }));
for (const each of feeds) await session.run(each);
process.stdout.write('warm\n');
// All bare processes of a bench begin together: each waits for the word on its stdin.
await new Promise((resolve) => process.stdin.once('data', resolve));
process.stdin.destroy();

const began = performance.now();
const used = process.cpuUsage();
let pictures = 0;
while (performance.now() - began < Number(seconds) * 1000) {
  await session.run(feeds[pictures % feeds.length] ?? {});
  pictures += 1;
}
const { user, system } = process.cpuUsage(used);
const result = { pictures, seconds: (performance.now() - began) / 1000, cpuSeconds: (user + system) / 1e6 };
process.stdout.write(`${JSON.stringify(result)}\n`);
