// The contenders of `npm run bench models` on networks in the small: they draw the same, say what it cost, and fail in words.
// Those in Python are tried where loadtest/bench/models/install-peers.sh was run.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { PACKAGE_ROOT } from '../../../ops/process/package.ts';
import type { TensorFormat } from '../entries/tensor-format.ts';
import { drawPicture } from '../golden.ts';
import { writeModel } from '../onnx/model-file.ts';
import { animeganV2 } from '../optimize/animegan-v2.ts';
import { psnr } from '../optimize/quality.ts';
import { plainToon } from '../probe/plain-toon.ts';
import { type Contender, type PeerEngine, startContender, startPeer } from './contenders.ts';

const SIDE = 64;
const python = join(PACKAGE_ROOT, '.tools/peers/bin/python');
const script = join(PACKAGE_ROOT, 'loadtest/bench/models/peer.py');
const skip = !existsSync(python) && 'PyTorch and OpenVINO come with loadtest/bench/models/install-peers.sh';
const noCore = { core: undefined };

const formatOf = (layout: TensorFormat['layout'], range: [number, number]): TensorFormat => ({
  layout,
  channels: 'RGB',
  input: { type: 'float32', range },
  output: { type: 'float32', range },
});
const networks = [
  {
    name: 'AnimeGANv2 in the small',
    file: writeModel(animeganV2(3, { widths: [16, 32, 32, 64], residuals: 1 })),
    format: formatOf('NCHW', [-1, 1]),
  },
  {
    name: 'a graph of other steps',
    file: writeModel(plainToon({ layout: 'NHWC', range: [0, 255], multiple: 4, draws: 'toon' })),
    format: formatOf('NHWC', [0, 255]),
  },
];

async function stage(t: TestContext, file: Uint8Array) {
  const folder = await mkdtemp(join(tmpdir(), 'toonfleet-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const [model, photo] = [join(folder, 'model.onnx'), join(folder, 'photo.rgb')];
  await writeFile(model, file);
  await writeFile(photo, drawPicture(SIDE, SIDE, 1));
  const drawnBy = async (contender: Contender) => {
    const keep = join(folder, 'drawn.rgb');
    const answer = await contender.draw({ photo, width: SIDE, height: SIDE, keep });
    assert.ok(answer.cpuMs > 0 && answer.rssBytes > 30e6 && answer.peakBytes >= answer.rssBytes * 0.99);
    return new Uint8Array(await readFile(keep));
  };
  return { model, folder, drawnBy };
}

for (const { name, file, format } of networks) {
  test(`${name}: ONNX Runtime's contenders draw the same`, async (t) => {
    const { model, drawnBy } = await stage(t, file);
    const drawings = [];
    for (const engine of ['defaults', 'level all'] as const) {
      const contender = await startContender({ engine, file: model, format }, noCore);
      drawings.push(await drawnBy(contender));
      await contender.close();
    }
    const [one, other] = drawings;
    assert.ok(one && other && psnr(one, other) > 60);
  });

  test(`${name}: PyTorch and OpenVINO draw the same from the same file`, { skip }, async (t) => {
    const { model, drawnBy } = await stage(t, file);
    const own = await startContender({ engine: 'level all', file: model, format }, noCore);
    t.after(() => own.close());
    const right = await drawnBy(own);
    const peers: [engine: PeerEngine, least: number][] = [
      ['torch', 55],
      ['openvino-f32', 55],
      ['openvino-bf16', 25],
    ];
    for (const [engine, least] of peers) {
      let peer: Contender;
      try {
        peer = await startPeer(engine, { python, script, file: model, format }, noCore);
      } catch (error) {
        assert.equal((error as Error).message, 'RuntimeError: this CPU has no bf16');
        continue;
      }
      t.after(() => peer.close());
      const alike = psnr(right, await drawnBy(peer));
      assert.ok(alike > least, `${peer.title}: ${alike.toFixed(1)} dB`);
    }
  });
}

test('a contender that cannot start, and one that cannot draw the size, say why', async (t) => {
  const { model, folder } = await stage(t, networks[0]?.file ?? new Uint8Array());
  const format = formatOf('NCHW', [-1, 1]);
  await assert.rejects(
    startContender({ engine: 'level all', file: join(folder, 'none.onnx'), format }, noCore),
    /ENOENT/,
  );
  const contender = await startContender({ engine: 'level all', file: model, format }, noCore);
  t.after(() => contender.close());
  const tiny = join(folder, 'tiny.rgb');
  await writeFile(tiny, drawPicture(4, 4, 1));
  await assert.rejects(contender.draw({ photo: tiny, width: 4, height: 4, keep: null }), /4×4/);
});

const interpreter = spawnSync('python3', ['--version']).status === 0;
test('the rivals in Python are whole programs', {
  skip: !interpreter && 'python3 is missing',
}, () => {
  const files = ['peer.py', 'torch_models.py', 'distil.py'].map((file) => join(script, '..', file));
  const code = 'import ast, sys; [ast.parse(open(each).read(), each) for each in sys.argv[1:]]';
  const checked = spawnSync('python3', ['-c', code, ...files], { encoding: 'utf8' });
  assert.equal(checked.status, 0, checked.stderr);
});
