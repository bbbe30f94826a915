// Faces in real photos: a real detector says where they are, and a real face model draws them, entered by the commands that
// an operator uses and asked for over HTTP. Skipped where weights or photos are absent.

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import test, { type TestContext } from 'node:test';
import sharp from 'sharp';
import { PACKAGE_ROOT } from '../../../ops/process/package.ts';
import { reduced } from '../../pipeline/codec.ts';
import { ask, startTestWorker, testSettings } from '../../test-worker.ts';
import { installedIn } from '../entries/installed.ts';
import { shownSize } from '../inference/detector.ts';
import { startInference } from '../inference/session.ts';
import { modelsCommand } from './command.ts';

const assets = resolve(PACKAGE_ROOT, process.env.TOONFLEET_TEST_ASSETS ?? '../shared');
const file = (name: string) => join(assets, name);
const needed = [
  'models/retinaface.onnx',
  'models/AnimeGANv3_tiny_Cute.onnx',
  'photos/p1.jpg',
  'photos/p3.jpg',
  'photos/b3.jpg',
].map(file);
const absent = needed.filter((path) => !existsSync(path));
const skip = absent.length > 0 && `set TOONFLEET_TEST_ASSETS to a folder with ${absent.join(', ')}`;

async function installed(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'toonfleet-portrait-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const dir = join(folder, 'models');
  const settings = testSettings(folder, { TOONFLEET_MODELS__DIR: dir, TOONFLEET_MODELS__FASTER: 'false' });
  const mocks = [t.mock.method(console, 'log', () => {}), t.mock.method(console, 'error', () => {})];
  const licence = ['--licence', 'as published', '--accept-licence'];
  const face = ['--name', 'tiny-cute', '--style', 'cute', '--multiple', '16', '--range=-1,1'];
  const parts = ['--detector', 'retinaface', '--face', 'tiny-cute', '--background', 'meadow'];
  for (const args of [
    ['add', file('models/retinaface.onnx'), '--detector', '--name', 'retinaface', ...licence],
    ['add', file('models/AnimeGANv3_tiny_Cute.onnx'), ...face, ...licence],
    ['compose', '--name', 'portrait', '--style', 'portrait:Portrait', ...parts, '--crop', '256'],
  ])
    assert.equal(await modelsCommand(args, settings), 0, args.join(' '));
  for (const mock of mocks) mock.mock.restore();
  return dir;
}

/** Where people see the eyes, in shares of the photo's sides. */
const EYES = {
  'photos/p1.jpg': [
    [0.4023, 0.2266, 0.4678, 0.252],
    [0.5459, 0.2422, 0.6094, 0.2197],
  ],
} as const;

test('the detector finds the faces of photos where people see them, and none where there are none', {
  skip,
}, async (t) => {
  const dir = await installed(t);
  const inference = startInference((reason) => Promise.reject(reason));
  t.after(() => inference.close());
  const [detector] = installedIn(dir).detectors;
  assert.ok(detector);
  await inference.loadDetector(detector);
  const find = async (name: string) => {
    const { data, info } = await sharp(readFileSync(file(name)))
      .removeAlpha()
      .raw()
      .toBuffer({ resolveWithObject: true });
    const photo = { data: Uint8Array.from(data), width: info.width, height: info.height };
    const shown = await reduced(photo, photo, shownSize(photo, detector));
    const { width, height } = shown;
    return { width, height, faces: (await inference.detect(detector, shown)).faces };
  };
  assert.equal((await find('photos/p3.jpg')).faces.length, 6);
  assert.equal((await find('photos/b3.jpg')).faces.length, 0);
  const { width, height, faces } = await find('photos/p1.jpg');
  const [left, right, ...more] = [...faces].sort((one, other) => one.box.left - other.box.left);
  assert.ok(left && right && more.length === 0);
  for (const [index, { box, landmarks }] of [left, right].entries()) {
    const [x1, y1, x2, y2] = EYES['photos/p1.jpg'][index] ?? [];
    const [one, other] = landmarks;
    // A hundredth of the photo is about an eye's own width here.
    for (const [found, seen] of [
      [one.x / width, x1],
      [one.y / height, y1],
      [other.x / width, x2],
      [other.y / height, y2],
    ] as const)
      assert.ok(Math.abs(found - (seen ?? 0)) < 0.012, `${found} and not ${seen}`);
    assert.ok(landmarks.every(({ x, y }) => x > box.left && x < box.right && y > box.top && y < box.bottom));
    assert.ok(landmarks[2].y > one.y && landmarks[3].y > landmarks[2].y, 'nose below eyes, mouth below nose');
  }
});

test('style=portrait draws the faces, tells how many, and leaves them to the background with faces=off', {
  skip,
}, async (t) => {
  const { port } = await startTestWorker(t, {
    modelsDir: await installed(t),
    env: { TOONFLEET_WORKER__PROVENANCE: 'xmp' },
  });
  const post = (query: string, name: string) =>
    ask(port, `/v1/images?${query}`, {
      body: readFileSync(file(name)),
      headers: { 'content-type': 'image/jpeg' },
    });
  const drawn = await post('style=portrait&max_side=512', 'photos/p3.jpg');
  assert.equal(drawn.status, 200);
  assert.deepEqual([drawn.headers['x-faces'], drawn.headers['x-style']], ['6', 'portrait']);
  assert.match(String(drawn.headers['x-model']), /^[0-9a-f]{12}; variant=composite$/);
  const { xmp } = await sharp(drawn.body).metadata();
  assert.match(String(xmp), /toonfleet:model="portrait"/);
  const off = await post('style=portrait&max_side=512&faces=off', 'photos/p3.jpg');
  const background = await post('style=meadow&max_side=512', 'photos/p3.jpg');
  assert.equal(off.headers['x-faces'], undefined);
  const pixels = async (body: Uint8Array) => await sharp(body).raw().toBuffer({ resolveWithObject: true });
  const [faces, plain, meadow] = await Promise.all([drawn, off, background].map(({ body }) => pixels(body)));
  assert.ok(faces && plain && meadow);
  assert.deepEqual([faces.info.width, faces.info.height], [meadow.info.width, meadow.info.height]);
  assert.ok(plain.data.equals(meadow.data), 'faces=off is the background alone');
  assert.ok(!faces.data.equals(meadow.data));
  // The corners are far from every face.
  for (const at of [0, faces.data.length - 3]) assert.equal(faces.data[at], meadow.data[at]);

  const json = await post('style=portrait&max_side=256&format=json&base64=false', 'photos/b3.jpg');
  assert.equal(json.json().faces, 0);
  const none = await post('style=meadow&max_side=256&format=json&base64=false', 'photos/b3.jpg');
  assert.equal(none.json().faces, undefined);

  const { styles } = (await ask(port, '/v1/styles')).json() as {
    styles: { id: string; thumbnail_url: string }[];
  };
  for (const id of ['portrait', 'cute', 'meadow']) {
    const url = styles.find((style) => style.id === id)?.thumbnail_url ?? '';
    const thumbnail = await ask(port, url);
    assert.equal(thumbnail.status, 200, `${id}: ${url}`);
    const { format, width, height } = await sharp(thumbnail.body).metadata();
    assert.deepEqual([format, width, height], ['webp', 192, 192]);
  }
  assert.equal((await ask(port, '/thumbnails/nobody.webp')).status, 404);
});
