// A composite from manifest to answer, with real graphs in the real thread. The doubles paint slopes of position: where a
// pixel of the answer came from is read from its colour.

import assert from 'node:assert/strict';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { after, type TestContext } from 'node:test';
import sharp from 'sharp';
import { alignment, TEMPLATES } from '../faces/alignment.ts';
import type { Landmarks } from '../faces/detection.ts';
import { moved } from '../faces/similarity.ts';
import {
  backgroundDouble,
  type ClaimedFace,
  DETECTOR_SIDE,
  detectorAnchors,
  detectorDouble,
  HEAD_SIDE,
  headColour,
  headDouble,
} from '../faces/test-graphs.ts';
import { modelsCommand } from '../model/commands/command.ts';
import { ModelFault } from '../model/entries/fault.ts';
import { type FaceComposite, installedIn } from '../model/entries/installed.ts';
import { addedManifestPath } from '../model/entries/manifest.ts';
import { startInference } from '../model/inference/session.ts';
import { Library } from '../model/library.ts';
import { testSettings } from '../test-worker.ts';
import { draw } from './pipeline.ts';
import { createSpareMemory } from './spare-memory.ts';

/** The photo: its shorter side is more than DCT-Net's 720, so that it is drawn at 947×720 and enlarged again. */
const PHOTO = { width: 1000, height: 760 };
const DRAWN = { width: 947, height: 720 };
const FED = { width: 960, height: 736 };

/** A tilted face, in px of the detector's 128; the photo lies in 128×97 of them. */
const FACE: ClaimedFace = {
  side: 40,
  landmarks: [
    { x: 54, y: 38 },
    { x: 70, y: 42 },
    { x: 60, y: 50 },
    { x: 52, y: 56 },
    { x: 65, y: 59 },
  ],
};

/** Its points in px of the drawing: what is shown of 947×720 to a detector of 128 is 128×97. */
const inDrawing = FACE.landmarks.map(({ x, y }) => ({
  x: ((x + 0.5) * DRAWN.width) / 128 - 0.5,
  y: ((y + 0.5) * DRAWN.height) / 97 - 0.5,
})) as unknown as Landmarks;

interface Options {
  readonly faces?: readonly ClaimedFace[];
  /** How far apart the detector's places are, px of its 128. */
  readonly apart?: number;
  readonly copies?: boolean;
}

const made = new Map<string, Promise<string>>();
after(async () => {
  for (const dir of made.values()) await rm(join(await dir, '..'), { recursive: true });
});

/** A test's own copy of an installation; those that are alike are made once. */
async function installed(t: TestContext, options: Options = {}): Promise<string> {
  const key = JSON.stringify(options);
  const original = made.get(key) ?? install(t, options);
  made.set(key, original);
  const dir = await mkdtemp(join(tmpdir(), 'toonfleet-faces-'));
  t.after(() => rm(dir, { recursive: true }));
  await cp(await original, dir, { recursive: true });
  return dir;
}

/** An installation of the doubles, entered by the commands that an operator uses. */
async function install(t: TestContext, { faces = [FACE], apart, copies = false }: Options): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'toonfleet-faces-'));
  const dir = join(folder, 'models');
  // A double is no faster for being rewritten, and that is another test's.
  const settings = testSettings(folder, { TOONFLEET_MODELS__DIR: dir, TOONFLEET_MODELS__FASTER: 'false' });
  const said: string[] = [];
  t.mock.method(console, 'log', (line: string) => said.push(line));
  t.mock.method(console, 'error', (line: string) => said.push(line));
  const models = async (...args: string[]) =>
    assert.equal(await modelsCommand(args, settings), 0, `models ${args.join(' ')}: ${said.at(-1)}`);
  const add = async (name: string, bytes: Uint8Array, ...more: string[]) => {
    await writeFile(join(folder, `${name}.onnx`), bytes);
    const licence = ['--licence', 'Apache-2.0', '--accept-licence'];
    await models('add', join(folder, `${name}.onnx`), '--name', name, ...licence, ...more);
  };
  await add('head', headDouble({ copies }), '--preset', 'dct-net-head');
  await add('bg', backgroundDouble(), '--preset', 'dct-net-background', '--style', 'scene');
  const anchors = { side: DETECTOR_SIDE, fixed: true, anchors: detectorAnchors(apart) };
  await writeFile(join(folder, 'finder.yaml'), JSON.stringify(anchors));
  await add('finder', detectorDouble(faces, apart), '--detector', '--spec', join(folder, 'finder.yaml'));
  await writeFile(join(folder, 'alpha.png'), await ramp());
  const parts = [
    '--detector',
    'finder',
    '--face',
    'head',
    '--background',
    'bg',
    '--mask',
    join(folder, 'alpha.png'),
  ];
  await models('compose', '--name', 'dct', '--style', 'portrait', '--preset', 'dct-net', ...parts);
  t.mock.restoreAll();
  return dir;
}

/** A mask that shows all within 60 px of the crop's middle and nothing beyond 120. */
async function ramp(): Promise<Buffer> {
  const data = new Uint8Array(HEAD_SIDE * HEAD_SIDE);
  for (let at = 0; at < data.length; at++) data[at] = shown(at % HEAD_SIDE, Math.floor(at / HEAD_SIDE));
  return await sharp(data, { raw: { width: HEAD_SIDE, height: HEAD_SIDE, channels: 1 } })
    .png()
    .toBuffer();
}
const shown = (u: number, v: number) =>
  Math.max(0, Math.min(255, Math.round(((120 - Math.hypot(u - 143.5, v - 143.5)) / 60) * 255)));

/** Where the photo's slopes are not clipped: a step of colour a pixel, green across and blue down. */
const SLOPES_FROM = { x: 360, y: 260 };
const slope = (px: number, from: number) => Math.max(0, Math.min(255, px - from));

async function slopes(): Promise<Buffer> {
  const { width, height } = PHOTO;
  const data = new Uint8Array(width * height * 3);
  for (let at = 0; at < width * height; at++)
    data.set([0, slope(at % width, SLOPES_FROM.x), slope(Math.floor(at / width), SLOPES_FROM.y)], at * 3);
  return await sharp(data, { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer();
}

/** What a photo becomes. */
async function answer(
  t: TestContext,
  dir: string,
  { faces = true, photo }: { faces?: boolean; photo?: Buffer } = {},
) {
  const inference = startInference((reason) => Promise.reject(reason));
  t.after(() => inference.close());
  const library = new Library(installedIn(dir), 'portrait', inference);
  assert.deepEqual(await library.load(), []);
  const { model } = library.style(undefined);
  const drawn = await draw(
    {
      picture: photo ?? (await slopes()),
      model,
      faces,
      maxSide: 1024,
      encoding: { format: 'png', quality: undefined },
    },
    { deadline: Number.POSITIVE_INFINITY, now: () => 0, gone: () => false, drawn: () => {} },
    { inference, maxPixels: 1e7, memory: createSpareMemory() },
  );
  const { data, info } = await sharp(drawn.bytes).raw().toBuffer({ resolveWithObject: true });
  const at = (x: number, y: number) => {
    const from = (y * info.width + x) * info.channels;
    return { r: data[from] ?? -1, g: data[from + 1] ?? -1, b: data[from + 2] ?? -1 };
  };
  return { drawn, at, model: model as FaceComposite };
}

/** The crop's place that a pixel of the answer shows. */
function cropPlace(x: number, y: number) {
  const there = {
    x: ((x + 0.5) * DRAWN.width) / PHOTO.width - 0.5,
    y: ((y + 0.5) * DRAWN.height) / PHOTO.height - 0.5,
  };
  return moved(there, alignment(inDrawing, TEMPLATES['dct-net'], HEAD_SIDE));
}

/** Pixels of the answer, a few px apart. */
function* everyFew(step: number) {
  for (let y = 0; y < PHOTO.height; y += step) for (let x = 0; x < PHOTO.width; x += step) yield { x, y };
}

test("a head stands within a pixel of where DCT-Net's alignment puts it, and the mask says how much is seen", async (t) => {
  const { drawn, at, model } = await answer(t, await installed(t));
  assert.deepEqual([drawn.width, drawn.height, drawn.faces], [PHOTO.width, PHOTO.height, 1]);
  assert.deepEqual([model.crop, model.beyond, model.max_faces, model.tone], [288, 'white', 10, 'own']);
  let [inside, edge] = [0, 0];
  for (const { x, y } of everyFew(3)) {
    const { x: u, y: v } = cropPlace(x, y);
    const { r, g, b } = at(x, y);
    const out = Math.hypot(u - 143.5, v - 143.5);
    if (out < 56) {
      inside++;
      // Two steps of colour are a pixel of the crop.
      assert.ok(Math.abs(b - headColour(u)) <= 2, `blue ${b} at ${u}: ${(b - headColour(u)) / 2} px off`);
      assert.ok(Math.abs(g - headColour(v)) <= 2, `green ${g} at ${v}: ${(g - headColour(v)) / 2} px off`);
      assert.ok(r >= 254);
    } else if (out < 126) {
      edge++;
      // Red is the mask itself: all from the head, nothing from the background. It falls 4.25 steps a pixel.
      assert.ok(Math.abs(r - shown(u, v)) <= 4.25, `red ${r} and not ${shown(u, v)}`);
    } else assert.ok(r <= 1, 'beyond the mask is the background alone');
  }
  assert.ok(inside > 300 && edge > 900, `${inside} and ${edge} places were looked at`);
});

test("the background is fed as DCT-Net's is: 720 px on the shorter side, white to 16, and 16 more where it needs none", async (t) => {
  const { drawn, at } = await answer(t, await installed(t, { faces: [] }));
  assert.deepEqual([drawn.width, drawn.height, drawn.faces], [PHOTO.width, PHOTO.height, 0]);
  for (const { x, y } of everyFew(37)) {
    const { r, g, b } = at(x, y);
    assert.equal(r, 0, 'the last pixel that it was fed is white');
    const across = (((x + 0.5) * DRAWN.width) / PHOTO.width - 0.5) * (255 / (FED.width - 1));
    const down = (((y + 0.5) * DRAWN.height) / PHOTO.height - 0.5) * (255 / (FED.height - 1));
    assert.ok(
      Math.abs(g - across) <= 1.2 && Math.abs(b - down) <= 1.2,
      `${g}, ${b} and not ${across}, ${down}`,
    );
  }
});

test('what a head shows of the photo comes back to its own place', async (t) => {
  const { at } = await answer(t, await installed(t, { copies: true }));
  const off: number[] = [];
  for (const { x, y } of everyFew(5)) {
    const { x: u, y: v } = cropPlace(x, y);
    if (Math.hypot(u - 143.5, v - 143.5) > 56) continue;
    const { g, b } = at(x, y);
    off.push(g - slope(x, SLOPES_FROM.x), b - slope(y, SLOPES_FROM.y));
  }
  assert.ok(off.length > 200);
  // A step of colour is a pixel. The way there and back rounds four times, and libvips rounds down when it enlarges the
  // answer: half a step, with or without faces.
  const mean = off.reduce((sum, each) => sum + each, 0) / off.length;
  assert.ok(Math.abs(mean + 0.5) < 0.3, `${mean} px off in the mean`);
  assert.ok(Math.max(...off.map(Math.abs)) <= 2, `${Math.max(...off.map(Math.abs))} px off at worst`);
});

test('with faces off nobody looks for faces, and the background is drawn at the same size', async (t) => {
  const { drawn, at } = await answer(t, await installed(t), { faces: false });
  assert.deepEqual([drawn.width, drawn.height, drawn.faces], [PHOTO.width, PHOTO.height, undefined]);
  for (const { x, y } of everyFew(50)) assert.equal(at(x, y).r, 0);
});

test('where looking for faces fails nothing is drawn: the background alone would say that there are none', async (t) => {
  const dir = await installed(t);
  const inference = startInference((reason) => Promise.reject(reason));
  t.after(() => inference.close());
  const library = new Library(installedIn(dir), 'portrait', inference);
  await library.load();
  t.mock.method(inference, 'detect', async () => {
    throw new ModelFault('detector finder: it fails on this size');
  });
  const runs = t.mock.method(inference, 'run');
  const order = {
    picture: await slopes(),
    model: library.style(undefined).model,
    faces: true,
    maxSide: 1024,
    encoding: { format: 'png', quality: undefined } as const,
  };
  const context = {
    ...{ deadline: Number.POSITIVE_INFINITY, now: () => 0, gone: () => false },
    drawn: () => assert.fail('nothing was drawn'),
  };
  const parts = { inference, maxPixels: 1e7, memory: createSpareMemory() };
  await assert.rejects(draw(order, context, parts), /finder: it fails/);
  assert.equal(runs.mock.callCount(), 0);
  // Who wants no faces is not kept from his picture.
  assert.equal(
    (await draw({ ...order, faces: false }, { ...context, drawn: () => {} }, parts)).faces,
    undefined,
  );
});

test('a face that is too small is left to the background', async (t) => {
  const small: ClaimedFace = {
    side: 3,
    landmarks: FACE.landmarks.map(({ x, y }) => ({ x: 60 + x / 16, y: 40 + y / 16 })) as unknown as Landmarks,
  };
  const { drawn, at } = await answer(t, await installed(t, { faces: [small] }));
  assert.equal(drawn.faces, 0);
  for (const { x, y } of everyFew(20)) assert.equal(at(x, y).r, 0);
});

test('of 200 faces the ten largest are drawn, and the others are left to the background', async (t) => {
  // Twenty in a row, ten rows; every twentieth of them is larger.
  const places = Array.from({ length: 200 }, (_, nth) => ({
    x: 3.2 + 6.4 * (nth % 20),
    y: 4.8 + 9.6 * Math.floor(nth / 20),
    large: nth % 20 === Math.floor(nth / 20) * 2,
  }));
  const nose = { x: 60, y: 50 };
  const faces = places.map(({ x, y, large }) => ({
    side: large ? 6 : 5,
    landmarks: FACE.landmarks.map((point) => ({
      x: x + (point.x - nose.x) / 8,
      y: y + (point.y - nose.y) / 8,
    })) as unknown as Landmarks,
  }));
  const { drawn, at } = await answer(t, await installed(t, { faces, apart: 8 }));
  assert.equal(drawn.faces, 10);
  const red = ({ x, y }: { x: number; y: number }) =>
    at(Math.round(((x + 0.5) * PHOTO.width) / 128), Math.round(((y + 0.5) * PHOTO.height) / 97)).r;
  const [large, small] = [places.filter((place) => place.large), places.filter((place) => !place.large)];
  assert.ok(large.every((place) => red(place) >= 254));
  // The mask fades out two and a half faces away from a nose.
  const far = small.filter((place) =>
    large.every((face) => Math.hypot(face.x - place.x, face.y - place.y) > 16),
  );
  assert.ok(far.length > 50 && far.every((place) => red(place) <= 1), `${far.length} places were looked at`);
});

test('between two steps a deadline and a client who left end the drawing', async (t) => {
  const dir = await installed(t);
  const inference = startInference((reason) => Promise.reject(reason));
  t.after(() => inference.close());
  const library = new Library(installedIn(dir), 'portrait', inference);
  await library.load();
  const runs = t.mock.method(inference, 'drawFace');
  // The clock is looked at when it starts, behind decoding, behind looking for faces, and before each face; whether the
  // client is there, all these times but the first.
  for (const [code, lateAt, goneAt] of [
    ['deadline_exceeded', 4, Number.POSITIVE_INFINITY],
    ['client_gone', Number.POSITIVE_INFINITY, 3],
  ] as const) {
    let [clocks, looks] = [0, 0];
    const context = {
      deadline: 100,
      now: () => (++clocks >= lateAt ? 200 : 0),
      gone: () => ++looks >= goneAt,
      drawn: () => {},
    };
    const order = {
      picture: await slopes(),
      model: library.style(undefined).model,
      faces: true,
      maxSide: 1024,
      encoding: { format: 'png', quality: undefined } as const,
    };
    const parts = { inference, maxPixels: 1e7, memory: createSpareMemory() };
    await assert.rejects(draw(order, context, parts), { code });
  }
  assert.equal(runs.mock.callCount(), 0);
});

test('a composite whose mask or detector is another file than the manifest says is left out, and the others draw', async (t) => {
  const dir = await installed(t);
  const inference = startInference((reason) => Promise.reject(reason));
  t.after(() => inference.close());
  const load = async () => {
    const library = new Library(installedIn(dir), 'scene', inference);
    const faults = await library.load();
    return {
      said: faults.map(({ message }) => message).join('\n'),
      styles: library.list().map(({ id }) => id),
    };
  };
  assert.ok((await load()).styles.includes('portrait'));
  const mask = await readFile(join(dir, 'dct.mask'));
  await writeFile(join(dir, 'dct.mask'), await sharp(mask).negate().png().toBuffer());
  const other = await load();
  assert.match(other.said, /mask.*SHA-256/s);
  assert.ok(!other.styles.includes('portrait') && other.styles.includes('scene'));
  await writeFile(join(dir, 'dct.mask'), mask);
  await rm(join(dir, 'finder.onnx'));
  const none = await load();
  assert.match(none.said, /finder/);
  assert.ok(!none.styles.includes('portrait') && none.styles.includes('scene'));
});

test('where the default style is a composite without one of its parts, the start says what is wrong with the part', async (t) => {
  const dir = await installed(t);
  const inference = startInference((reason) => Promise.reject(reason));
  t.after(() => inference.close());
  await rm(join(dir, 'head.onnx'));
  const library = new Library(installedIn(dir), 'portrait', inference);
  await assert.rejects(library.load(), /dct: its part head was left out.*head\.onnx/s);
});

test('a composite is refused while one of its parts is not installed', async (t) => {
  const dir = await installed(t);
  const manifest = addedManifestPath(dir);
  const text = await readFile(manifest, 'utf8');
  await writeFile(manifest, text.replace('face: head', 'face: nobody'));
  assert.throws(() => installedIn(dir), /dct names nobody as its face, but installed are/);
  await writeFile(manifest, text.replace('crop: 288', 'crop: 256'));
  assert.throws(() => installedIn(dir), /crop is 256, but head takes 288×288 only/);
});
