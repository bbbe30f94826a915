// Lays photos and what every embedded style makes of them side by side in one picture.

import { mkdir, readdir, readFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import sharp, { type OverlayOptions, type Sharp } from 'sharp';
import { looks } from './looks.ts';

const usage = `usage: npm run make:contact-sheet [-- [OUT.png] [--photos DIR] [--side PX]]
       npm run make:contact-sheet -- --free

OUT.png defaults to out/contact-sheet.png, DIR to the folder photos in TOONFLEET_TEST_ASSETS or ../shared.
--free makes the pictures the repository carries, from docs/images/free alone:
docs/images/styles.webp and server/models/thumbnails/<style>.webp`;

const root = fileURLToPath(new URL('../../..', import.meta.url));

/** The side photos are fitted to before they are painted: what a worker does unless told otherwise. */
const paintedSidePx = 512;

type Picture = { readonly width: number; readonly height: number; readonly data: Buffer };
type Row = readonly Picture[];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    photos: { type: 'string' },
    side: { type: 'string', default: String(paintedSidePx) },
    free: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

if (values.help) console.log(usage);
else if (values.free) await repositoryPictures();
else {
  const assets = process.env.TOONFLEET_TEST_ASSETS ?? join(root, '../shared');
  const out = resolve(positionals[0] ?? join(root, 'out/contact-sheet.png'));
  const rows = await paintAll(await photosIn(values.photos ?? join(assets, 'photos')));
  await mkdir(dirname(out), { recursive: true });
  await (await sheet(rows, Number(values.side))).png().toFile(out);
  console.log(out);
}

async function repositoryPictures(): Promise<void> {
  const photos = await photosIn(join(root, 'docs/images/free'));
  const overview = join(root, 'docs/images/styles.webp');
  await (await sheet(await paintAll(photos), 280)).webp({ quality: 82, effort: 6 }).toFile(overview);
  console.log(overview);

  const astronaut = photos.find((path) => path.endsWith('astronaut.jpg'));
  if (astronaut === undefined)
    throw new Error('docs/images/free/astronaut.jpg is missing: the thumbnails show it');
  const thumbnails = join(root, 'server/models/thumbnails');
  await mkdir(thumbnails, { recursive: true });
  const [[, ...painted] = []] = await paintAll([astronaut]);
  for (const [index, picture] of painted.entries()) {
    const out = join(thumbnails, `${looks[index]?.id}.webp`);
    // The face and the collar of the suit.
    const face = image(picture).extract({ left: 64, top: 0, width: 320, height: 320 });
    await face.resize(192, 192).webp({ quality: 80, effort: 6 }).toFile(out);
    console.log(out);
  }
}

async function photosIn(folder: string): Promise<string[]> {
  const names = await readdir(folder, { recursive: true });
  const photos = names.filter((name) => /\.(jpe?g|png|webp)$/i.test(name)).sort();
  if (photos.length === 0) throw new Error(`no photos in ${folder}`);
  return photos.map((name) => join(folder, name));
}

/** One row a photo: itself, then every style in the order of `looks`. */
async function paintAll(photos: readonly string[]): Promise<Row[]> {
  const sessions: InferenceSession[] = [];
  for (const { id } of looks) {
    const file = await readFile(new URL(`${id}.onnx`, import.meta.url));
    sessions.push(await InferenceSession.create(file, { intraOpNumThreads: 1 }));
  }
  const rows: Row[] = [];
  for (const path of photos) {
    const photo = await load(path);
    const row = [photo];
    for (const session of sessions) row.push(await paint(session, photo));
    rows.push(row);
  }
  return rows;
}

async function load(path: string): Promise<Picture> {
  const { data, info } = await sharp(path)
    .autoOrient()
    .resize(paintedSidePx, paintedSidePx, { fit: 'inside' })
    .flatten({ background: 'white' })
    .toColourspace('srgb')
    .raw()
    .toBuffer({ resolveWithObject: true });
  return { width: info.width, height: info.height, data };
}

async function paint(session: InferenceSession, { width, height, data }: Picture): Promise<Picture> {
  const { toon } = await session.run({ image: new Tensor('uint8', data, [1, height, width, 3]) });
  if (!(toon?.data instanceof Uint8Array)) throw new Error('the style gave no picture back');
  return { width, height, data: Buffer.from(toon.data) };
}

function image({ width, height, data }: Picture): Sharp {
  return sharp(data, { raw: { width, height, channels: 3 } });
}

/** The rows under their column titles; every cell is `columnPx` wide at most. */
async function sheet(rows: readonly Row[], columnPx: number): Promise<Sharp> {
  const gapPx = 8;
  const titlePx = 32;
  const step = columnPx + gapPx;
  const titles = ['Photo', ...looks.map(({ title }) => title)];
  const width = titles.length * step + gapPx;
  const cells: OverlayOptions[] = [];
  let top = titlePx;
  for (const row of rows) {
    const fitted = await Promise.all(
      row.map((each) =>
        image(each).resize(columnPx, columnPx, { fit: 'inside' }).png().toBuffer({ resolveWithObject: true }),
      ),
    );
    for (const [column, { data, info }] of fitted.entries()) {
      const centred = Math.floor((columnPx - info.width) / 2);
      cells.push({ input: data, left: gapPx + column * step + centred, top });
    }
    top += gapPx + Math.max(...fitted.map(({ info }) => info.height));
  }
  const labels = titles.map(
    (title, column) =>
      `<text x="${gapPx + column * step + columnPx / 2}" y="22" text-anchor="middle" fill="#222">${title}</text>`,
  );
  const header = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${titlePx}"
    font-family="sans-serif" font-size="17">${labels.join('')}</svg>`;
  cells.push({ input: Buffer.from(header), left: 0, top: 0 });
  return sharp({ create: { width, height: top, channels: 3, background: 'white' } }).composite(cells);
}
