// Real AnimeGANv3 weights by manifest alone, through the command that an operator uses. Skipped where they are absent.

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import test, { type TestContext } from 'node:test';
import sharp from 'sharp';
import { PACKAGE_ROOT } from '../../../ops/process/package.ts';
import { ask, startTestWorker } from '../../test-worker.ts';
import { modelsCommand } from './command.ts';

const assets = resolve(PACKAGE_ROOT, process.env.TOONFLEET_TEST_ASSETS ?? '../shared');
const tiny = join(assets, 'models/AnimeGANv3_tiny_Cute.onnx');
const hayao = join(assets, 'models/AnimeGANv3_Hayao_36.onnx');
const photo = join(assets, 'photos/p1.jpg');
const absent = [tiny, hayao, photo].filter((file) => !existsSync(file));
const skip = absent.length > 0 && `set TOONFLEET_TEST_ASSETS to a folder with ${absent.join(', ')}`;
const licence = ['--licence', 'non-commercial', '--accept-licence'];

/** Runs the command quietly, and gives what it said. */
async function models(t: TestContext, dir: string, ...args: string[]) {
  const said: string[] = [];
  const hear = (...words: unknown[]) => void said.push(words.join(' '));
  const mocks = [t.mock.method(console, 'log', hear), t.mock.method(console, 'error', hear)];
  const code = await modelsCommand(args, {
    models: {
      dir,
      default_style: 'meadow',
      lighter_style: '',
      faster: true,
      execution_providers: ['cpu'],
      mirrors: [],
      proxy: '',
      load: [],
    },
  });
  for (const mock of mocks) mock.mock.restore();
  return { code, said: said.join('\n') };
}

async function modelsDir(t: TestContext): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'toonfleet-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

test('tiny Cute (any size ×16) and Hayao 36 (512×512 only) are added, proven and drawn by manifest alone', {
  skip,
}, async (t) => {
  const dir = await modelsDir(t);
  const added = await models(t, dir, 'add', tiny, '--name', 'tiny-cute', '--style', 'cute:Cute', ...licence);
  assert.equal(added.code, 0, added.said);
  assert.match(added.said, /multiples of 16: it drew 304×272/);
  assert.match(added.said, /from -1 to 1 in and -1 to 1 out: sure/);
  assert.match(added.said, /size_multiple: 16/);
  const fixed = await models(t, dir, 'add', hayao, '--name', 'hayao-36', '--style', 'hayao', ...licence);
  assert.equal(fixed.code, 0, fixed.said);
  assert.match(fixed.said, /fixed_size:\s+- 512\s+- 512/);
  assert.match(fixed.said, /from -1 to 1 in and -1 to 1 out: sure/);
  assert.equal((await models(t, dir, 'list')).said.split('\n').length > 5, true);

  const { port } = await startTestWorker(t, { modelsDir: dir });
  const draw = async (style: string, side: number) => {
    const answer = await ask(port, `/v1/images?style=${style}&max_side=${side}`, {
      body: await sharp(readFileSync(photo)).resize(900, 600, { fit: 'cover' }).jpeg().toBuffer(),
      headers: { 'content-type': 'image/jpeg' },
    });
    const { width, height } = await sharp(answer.body).metadata();
    const { channels } = await sharp(answer.body).stats();
    return { style: answer.headers['x-style'], size: [width, height], spread: channels[0]?.stdev ?? 0 };
  };
  const cute = await draw('tiny_cute', 300);
  assert.deepEqual([cute.style, cute.size], ['cute', [300, 200]]);
  const painted = await draw('hayao_64', 1024);
  assert.deepEqual([painted.style, painted.size], ['hayao', [512, 341]]);
  for (const { spread } of [cute, painted]) assert.ok(spread > 20, 'there is a picture in it');

  await copyFile(tiny, join(dir, 'hayao-36.onnx'));
  const verdict = await models(t, dir, 'verify');
  assert.equal(verdict.code, 1);
  assert.match(verdict.said, /hayao-36 +WRONG .*hayao-36\.onnx.*SHA-256/);
  assert.match(verdict.said, /tiny-cute +right/);
});

test('what is no generator is not added, and leaves nothing behind', { skip }, async (t) => {
  const dir = await modelsDir(t);
  const retinaface = join(assets, 'models/retinaface.onnx');
  const cases: [args: string[], code: number, words: RegExp][] = [
    [[photo, '--name', 'a', '--style', 'a', ...licence], 1, /no ONNX file/],
    [[join(assets, 'nothing.onnx'), '--name', 'a', '--style', 'a', ...licence], 1, /no such file/],
    [[tiny, '--name', 'a', '--style', 'a', '--licence', 'x'], 2, /--accept-licence/],
    [[tiny, '--name', 'a', '--style', 'a', '--accept-licence'], 2, /--licence/],
    [[tiny, '--name', 'A!', '--style', 'a', ...licence], 2, /--name/],
    [[tiny, '--name', 'a', '--style', 'meadow', '--multiple', '16', ...licence], 1, /style meadow/],
    [[tiny, '--name', 'meadow', '--style', 'b', ...licence], 1, /installed already/],
    [[tiny, '--name', 'a', '--style', 'a', '--layout', 'HWC', ...licence], 1, /layout/],
    [[tiny, '--name', 'a', '--style', 'a', '--colour', 'red', ...licence], 2, /colour/],
    ...(existsSync(retinaface)
      ? [
          [[retinaface, '--name', 'a', '--style', 'a', ...licence], 1, /3 outputs/] as [
            string[],
            number,
            RegExp,
          ],
        ]
      : []),
  ];
  for (const [args, code, words] of cases) {
    const result = await models(t, dir, 'add', ...args);
    assert.equal(result.code, code, `${args.join(' ')}: ${result.said}`);
    assert.match(result.said, words);
    assert.ok(!existsSync(join(dir, 'a.onnx')));
  }
});
