// Draws the photos of a load test into a folder, for tools that read files: k6 and Locust.
//
//   npx tsx loadtest/draw-photos.ts DIR [--sizes 512x512,640x480] [--seed 1]
//
// photos.json beside them tells where each JPEG takes a comment, so that those tools can give every upload bytes of
// its own as `own-bytes.ts` does.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { cut } from './own-bytes.ts';
import { DEFAULT_SIZES, drawPhotos } from './pictures.ts';

const { values, positionals } = parseArgs({
  options: { sizes: { type: 'string' }, seed: { type: 'string', default: '1' } },
  allowPositionals: true,
});
const [dir] = positionals;
const sizes = values.sizes?.split(',').map((text) => {
  const [width = 0, height = 0] = text.split('x').map(Number);
  return { width, height };
});
if (dir === undefined || sizes?.some(({ width, height }) => !(width >= 16 && height >= 16))) {
  process.stderr.write('Usage: npx tsx loadtest/draw-photos.ts DIR [--sizes 512x512,640x480] [--seed 1]\n');
  process.exit(2);
}
mkdirSync(dir, { recursive: true });
const photos = (await drawPhotos(Number(values.seed), sizes ?? DEFAULT_SIZES)).filter(
  ({ kind }) => kind === 'jpeg',
);
const list = photos.map(({ name, bytes, width, height }) => {
  const file = name.replace(/\.jpeg$/, '.jpg');
  writeFileSync(join(dir, file), bytes);
  return { file, width, height, comment_at: cut(bytes).before.length };
});
writeFileSync(join(dir, 'photos.json'), `${JSON.stringify(list, null, 1)}\n`);
process.stdout.write(`${list.length} photos in ${dir}\n`);
