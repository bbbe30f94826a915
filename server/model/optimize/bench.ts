// `npm run bench models`: what bytes gain and cost, model by model, in turn with ONNX Runtime at level `all` in one process
// with one thread. The AnimeGANv2 architecture has weights by chance; AnimeGANv3 is measured where its files are given.
//
// Run by the bench command as: bench [--assets DIR] [--side 512]; DIR holds models/*.onnx and photos/*.jpg.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import sharp from 'sharp';
import type { Pixels } from '../golden.ts';
import { ModelFault, type TensorFormat } from '../manifest.ts';
import { writeModel } from '../onnx/model-file.ts';
import { animeganV2 } from './animegan-v2.ts';
import { optimizeToIntegers } from './optimize.ts';

const { values } = parseArgs({
  options: { assets: { type: 'string', default: '../shared' }, side: { type: 'string', default: '512' } },
});
const side = Number(values.side);
const format = (layout: 'NHWC' | 'NCHW'): TensorFormat => ({
  layout,
  channels: 'RGB',
  input: { type: 'float32', range: [-1, 1] },
  output: { type: 'float32', range: [-1, 1] },
});

const photos = await photosOf([join(values.assets, 'photos'), join(values.assets, 'photos/free')]);
if (photos.length < 2) {
  console.error(`there are no photos in ${values.assets}/photos; name another folder with --assets`);
  process.exit(1);
}
const models = [
  { name: 'AnimeGANv2 architecture', file: writeModel(animeganV2(1)), format: format('NCHW') },
  ...filesIn(join(values.assets, 'models'), /^AnimeGANv3.*\.onnx$/).map((path) => ({
    name: path.replace(/^.*\//, ''),
    file: readFileSync(path),
    format: format('NHWC'),
  })),
];
console.log(
  `${cpus()[0]?.model}, ${side}×${side}, one thread, CPU time, ${new Date().toISOString().slice(0, 10)}`,
);
for (const { name, file, format: own } of models) {
  try {
    const made = await optimizeToIntegers({
      file,
      format: own,
      calibration: photos.filter((_, index) => index % 2 === 0),
      proof: photos.filter((_, index) => index % 2 === 1),
      leastPsnr: 0,
      say: () => {},
    });
    const range = (of: readonly number[], digits: number) =>
      `${Math.min(...of).toFixed(digits)} to ${Math.max(...of).toFixed(digits)}`;
    const { before, after } = made.cpuMs;
    const psnr = range(
      made.pictures.map((each) => each.psnr),
      1,
    );
    const ssim = range(
      made.pictures.map((each) => each.ssim),
      3,
    );
    console.log(
      `${name}: ${before.toFixed(0)} ms → ${after.toFixed(0)} ms, ${made.ratio.toFixed(2)} ×, PSNR ${psnr} dB, SSIM ${ssim}`,
    );
  } catch (error) {
    if (!(error instanceof ModelFault)) throw error;
    console.log(`${name}: ${error.message}`);
  }
}

function filesIn(folder: string, names: RegExp): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => names.test(name))
    .sort()
    .map((name) => join(folder, name));
}

async function photosOf(folders: readonly string[]): Promise<Pixels[]> {
  const files = folders.flatMap((folder) => filesIn(folder, /\.jpe?g$/));
  return await Promise.all(
    files.map(async (file) => {
      const photo = sharp(file).rotate().resize(side, side, { fit: 'cover' }).removeAlpha().raw();
      return { data: new Uint8Array(await photo.toBuffer()), width: side, height: side };
    }),
  );
}
