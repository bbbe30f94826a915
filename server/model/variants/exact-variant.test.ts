import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { InferenceSession } from 'onnxruntime-node';
import type { TensorFormat } from '../entries/tensor-format.ts';
import { type OnnxModel, writeModel } from '../onnx/model-file.ts';
import { Builder } from '../optimize/builder.ts';
import { smallGenerator } from '../optimize/exact/small-generator.ts';
import { chooseExact, type Original } from './exact-variant.ts';

const FORMAT: TensorFormat = {
  layout: 'NHWC',
  channels: 'RGB',
  input: { type: 'float32', range: [-1, 1] },
  output: { type: 'float32', range: [-1, 1] },
};
const OPTIONS: InferenceSession.SessionOptions = { graphOptimizationLevel: 'all', logSeverityLevel: 3 };

async function original(
  bytes = writeModel(smallGenerator({ norm: 'instance', layout: 'NHWC' })),
): Promise<Original & { readonly session: InferenceSession }> {
  const session = await InferenceSession.create(bytes, OPTIONS);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  return { open: async () => session, session, bytes, sha256, format: FORMAT, multiple: 2, side: 32 };
}

async function folderOf(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'toonfleet-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** A clock by which the file takes `before` ms a picture and its variant `after`; each is drawn three times. */
function clock(before: number, after: number): () => number {
  let [calls, at] = [0, 0];
  return () => {
    const drawing = calls % 2 === 1;
    at += drawing ? (calls < 6 ? before : after) : 0;
    calls += 1;
    return at;
  };
}

const never = () => assert.fail('nothing is drawn again');

test('a variant that is faster and draws the same is taken, kept, and found again without drawing', async (t) => {
  const folder = await folderOf(t);
  const made = await chooseExact(await original(), folder, OPTIONS, clock(20, 10));
  assert.equal(made.variant, 'exact', made.why);
  assert.equal(made.format?.input.type, 'uint8');
  assert.deepEqual((await readdir(folder)).map((name) => name.split('.')[1]).sort(), ['json', 'onnx']);
  const unopened = { ...(await original()), open: async () => assert.fail('the file is not opened either') };
  const found = await chooseExact(unopened, folder, OPTIONS, never);
  assert.equal(found.variant, 'exact');
});

test('of several that meet a model at once one makes its variant, and the others take that', async (t) => {
  const folder = await folderOf(t);
  const time = clock(20, 10);
  let drawings = 0;
  const counted = () => {
    drawings += 1;
    return time();
  };
  const all = await Promise.all(
    Array.from({ length: 4 }, async () => chooseExact(await original(), folder, OPTIONS, counted)),
  );
  assert.deepEqual(
    all.map(({ variant }) => variant),
    ['exact', 'exact', 'exact', 'exact'],
  );
  assert.equal(drawings, 12, 'both graphs are drawn with three times, by one of them');
  assert.equal((await readdir(folder)).filter((name) => name.endsWith('.lock')).length, 0);
});

test('a variant that is no faster is not kept, and not tried again', async (t) => {
  const folder = await folderOf(t);
  const source = await original();
  const chosen = await chooseExact(source, folder, OPTIONS, clock(10, 10));
  assert.deepEqual([chosen.variant, chosen.session === source.session], ['f32', true]);
  assert.match(chosen.why ?? '', /no faster \(10 ms instead of 10 ms\)/);
  const again = await chooseExact(source, folder, OPTIONS, never);
  assert.deepEqual([again.variant, again.why], ['f32', chosen.why]);
});

test('a variant that draws the same of a square, and another picture of another shape, is not taken', async (t) => {
  const bytes = writeModel(turning());
  const format: TensorFormat = { ...FORMAT, layout: 'NCHW' };
  const square = { ...(await original(bytes)), format };
  const taken = await chooseExact(square, await folderOf(t), OPTIONS, clock(20, 10));
  assert.equal(taken.variant, 'exact', taken.why);
  const both = { ...(await original(bytes)), format, another: [48, 32] as const };
  const chosen = await chooseExact(both, await folderOf(t), OPTIONS, clock(20, 10));
  assert.equal(chosen.variant, 'f32');
  assert.match(chosen.why ?? '', /draws another picture/);
});

test('a variant whose file was damaged is made anew', async (t) => {
  const folder = await folderOf(t);
  await chooseExact(await original(), folder, OPTIONS, clock(20, 10));
  const [file = ''] = (await readdir(folder)).filter((name) => name.endsWith('.onnx'));
  await writeFile(join(folder, file), 'cut');
  let drawings = 0;
  const time = clock(20, 10);
  const chosen = await chooseExact(await original(), folder, OPTIONS, () => {
    drawings += 1;
    return time();
  });
  assert.equal(chosen.variant, 'exact');
  assert.equal(drawings, 12);
});

test('another model has a variant of its own', async (t) => {
  const folder = await folderOf(t);
  await chooseExact(await original(), folder, OPTIONS, clock(20, 10));
  const other = await original(writeModel(smallGenerator({ norm: 'group', layout: 'NHWC' })));
  await chooseExact(other, folder, OPTIONS, clock(20, 10));
  assert.equal((await readdir(folder)).length, 4);
});

test('a file that rewriting does not understand, or a folder that cannot be written, costs no picture', async (t) => {
  const source = await original();
  const foreign = { ...source, bytes: Buffer.from('no model') };
  const unread = await chooseExact(foreign, await folderOf(t), OPTIONS);
  assert.deepEqual([unread.variant, unread.session === source.session], ['f32', true]);
  assert.match(unread.why ?? '', /no variant could be made: it is no ONNX file/);
  const unwritable = await chooseExact(source, '/dev/null/variants', OPTIONS, clock(20, 10));
  assert.equal(unwritable.variant, 'f32');
  assert.match(unwritable.why ?? '', /no variant could be made: ENOTDIR/);
});

test('a variant that is not taken is let go of, also where it could not be kept', async (t) => {
  const source = await original();
  const create = InferenceSession.create.bind(InferenceSession) as (
    ...args: unknown[]
  ) => Promise<InferenceSession>;
  let held = 0;
  t.mock.method(InferenceSession, 'create', async (...args: unknown[]) => {
    const session = await create(...args);
    const release = session.release.bind(session);
    held += 1;
    t.mock.method(session, 'release', () => {
      held -= 1;
      return release();
    });
    return session;
  });
  const slow = await chooseExact(source, await folderOf(t), OPTIONS, clock(10, 10));
  assert.deepEqual([slow.variant, held], ['f32', 0]);
  const unwritable = await chooseExact(source, '/dev/null/variants', OPTIONS, clock(20, 10));
  assert.deepEqual([unwritable.variant, held], ['f32', 0]);
});

/** Enlarges twofold, as it seems, but what was wide becomes high: what folding takes for granted holds for squares only. */
function turning(): OnnxModel {
  const builder = new Builder('turning');
  const sides = (from: number, to: number) =>
    builder.node('Shape', ['picture'], { start: { int: from }, end: { int: to } });
  const twice = (value: string) => builder.node('Mul', [value, builder.ints([2])]);
  const sizes = builder.node('Concat', [sides(0, 2), twice(sides(3, 4)), twice(sides(2, 3))], {
    axis: { int: 0 },
  });
  const large = builder.node('Resize', ['picture', '', '', sizes], {
    mode: { string: 'linear' },
    coordinate_transformation_mode: { string: 'asymmetric' },
  });
  const padded = builder.node('Pad', [large, builder.ints([0, 0, 1, 1, 0, 0, 1, 1])], {
    mode: { string: 'reflect' },
  });
  const taps = builder.float(
    Array.from({ length: 81 }, (_, at) => ((at * 31) % 17) / 60 - 0.1),
    [3, 3, 3, 3],
  );
  const drawn = builder.node('Neg', [builder.node('Tanh', [builder.node('Conv', [padded, taps])])]);
  const { irVersion } = smallGenerator({ norm: 'none', layout: 'NCHW' });
  return {
    irVersion,
    opsets: { '': 15 },
    properties: {},
    name: 'turning',
    inputs: [{ name: 'picture', type: 'float32', dims: [1, 3, 'height', 'width'] }],
    outputs: [{ name: drawn, type: 'float32', dims: [1, 3, 'rows', 'columns'] }],
    nodes: builder.nodes,
    constants: builder.constants,
  };
}
