// `npm run bench batch`: why a worker draws one picture at a time. The time a picture takes in batches of 1, 2 and 4, on one
// core and with two threads on two, in turn in one process; and with two workers of one core each, as a machine is used here.
//
// Run by the bench command as: batch [--assets DIR] [--side 512] [--rounds 5].

import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import type { TensorFormat } from '../entries/tensor-format.ts';
import { drawPicture } from '../golden.ts';
import { SESSION_OPTIONS } from '../inference/session-options.ts';
import { tensorShape, toTensor } from '../inference/tensor.ts';
import { type OnnxModel, readModel, writeModel } from '../onnx/model-file.ts';
import { animeganV2 } from '../optimize/animegan-v2.ts';
import { runtimeVersion } from '../variants/runtime.ts';
import { median } from './comparison-table.ts';
import { type Contender, lastCore, startContender } from './contenders.ts';

const BATCHES = [1, 2, 4] as const;
const THREADS = [1, 2] as const;

const { values } = parseArgs({
  options: {
    assets: { type: 'string', default: process.env.TOONFLEET_TEST_ASSETS ?? '../shared' },
    side: { type: 'string', default: '512' },
    rounds: { type: 'string', default: '5' },
  },
});
const side = Number(values.side);
const rounds = Number(values.rounds);

const tiny = join(values.assets, 'models/AnimeGANv3_tiny_Cute.onnx');
const subjects = [
  { name: 'AnimeGANv2 architecture', file: writeModel(animeganV2(1)), layout: 'NCHW' as const },
  ...(existsSync(tiny)
    ? [{ name: 'AnimeGANv3 tiny', file: new Uint8Array(readFileSync(tiny)), layout: 'NHWC' as const }]
    : []),
];

console.log(
  `${cpus()[0]?.model}, ${cpus().length} cores, onnxruntime-node ${runtimeVersion()}, ${side}×${side}, median of ${rounds} rounds in turn, ` +
    `ms on the wall, ${new Date().toISOString().slice(0, 10)}\n`,
);
console.log('| model | | batch of 1 | batch of 2 | batch of 4 |\n| --- | --- | --- | --- | --- |');
for (const { name, file, layout } of subjects) {
  const format = formatOf(layout);
  const times = await timesOf(withFreeBatch(readModel(file)), format);
  for (const threads of THREADS) {
    const cells = BATCHES.map((batch) => cellOf(times.get(`${threads} ${batch}`) ?? [], batch));
    console.log(
      `| ${name} | ${threads === 1 ? 'one core' : 'two threads on two cores'} | ${cells.join(' | ')} |`,
    );
  }
  const each = await twoWorkers(file, format);
  console.log(`| ${name} | two workers of one core each | ${each.toFixed(0)} a picture | | |`);
}

function formatOf(layout: TensorFormat['layout']): TensorFormat {
  const floats = { type: 'float32', range: [-1, 1] } satisfies TensorFormat['input'];
  return { layout, channels: 'RGB', input: floats, output: floats };
}

/** What a picture takes, and what its client waits for. */
function cellOf(times: readonly number[], batch: number): string {
  if (times.length === 0) return 'does not run';
  const whole = median(times);
  return batch === 1
    ? `${whole.toFixed(0)} a picture`
    : `${(whole / batch).toFixed(0)} a picture, after ${whole.toFixed(0)}`;
}

/** The same graph for any number of pictures at once. */
function withFreeBatch(model: OnnxModel): OnnxModel {
  const free = <P extends { readonly dims: readonly (number | string)[] }>(port: P): P => ({
    ...port,
    dims: ['batch', ...port.dims.slice(1)],
  });
  return { ...model, inputs: model.inputs.map(free), outputs: model.outputs.map(free) };
}

/** Milliseconds of every run, by "threads batch"; what a graph refuses has none. */
async function timesOf(model: OnnxModel, format: TensorFormat): Promise<Map<string, number[]>> {
  const file = writeModel(model);
  const picture = toTensor(drawPicture(side, side, 1), format);
  const runs: { key: string; run: () => Promise<unknown> }[] = [];
  for (const threads of THREADS) {
    const session = await InferenceSession.create(file, {
      ...SESSION_OPTIONS,
      intraOpNumThreads: threads,
      logSeverityLevel: 4,
    });
    for (const batch of BATCHES) {
      const data = new Float32Array(picture.length * batch);
      for (let at = 0; at < batch; at++) data.set(picture, at * picture.length);
      const [, ...shape] = tensorShape(format.layout, side, side);
      const feeds = { [session.inputNames[0] ?? '']: new Tensor('float32', data, [batch, ...shape]) };
      runs.push({ key: `${threads} ${batch}`, run: () => session.run(feeds) });
    }
  }
  const times = new Map<string, number[]>();
  const able = [];
  for (const each of runs) {
    const warm = await each.run().catch(() => undefined);
    if (warm) able.push(each);
  }
  for (let round = 0; round < rounds; round++) {
    for (const { key, run } of able) {
      const began = performance.now();
      await run();
      times.set(key, [...(times.get(key) ?? []), performance.now() - began]);
    }
  }
  return times;
}

/** What a picture takes where each of two cores has a process of its own. */
async function twoWorkers(file: Uint8Array, format: TensorFormat): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'toonfleet-bench-'));
  const workers: Contender[] = [];
  try {
    const [model, photo] = [join(folder, 'model.onnx'), join(folder, 'photo.rgb')];
    writeFileSync(model, file);
    writeFileSync(photo, drawPicture(side, side, 1));
    const last = lastCore();
    for (const core of last ? [last - 1, last] : [undefined, undefined])
      workers.push(await startContender({ engine: 'level all', file: model, format }, { core }));
    const both = () =>
      Promise.all(workers.map((worker) => worker.draw({ photo, width: side, height: side, keep: null })));
    await both();
    const times: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const began = performance.now();
      await both();
      times.push((performance.now() - began) / workers.length);
    }
    return median(times);
  } finally {
    for (const worker of workers) await worker.close();
    rmSync(folder, { recursive: true, force: true });
  }
}
