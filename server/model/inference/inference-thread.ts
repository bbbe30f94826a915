// The thread that owns ONNX Runtime: one session per model, one run at a time. Its run() blocks the thread that calls
// it, which is why it has one of its own. Knows nothing of HTTP, of styles or of slots; session.ts speaks for it.

import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { InferenceSession, listSupportedBackends, Tensor } from 'onnxruntime-node';
import type { ExecutionProvider } from '../../../config/schema.ts';
import { anchorsOf } from '../../faces/anchors.ts';
import { readFaces } from '../../faces/detection.ts';
import { blendFace, cropFace, OWN_TONE, toneBetween } from '../../faces/warp.ts';
import type { TensorFormat } from '../entries/tensor-format.ts';
import { checkOnnx } from '../onnx/check.ts';
import { type Chosen, chooseExact } from '../variants/exact-variant.ts';
import { detectorInput, detectorSize, meansOf, sortOutputs } from './detector.ts';
import type { ModelIo, ThreadData, ThreadReply, ThreadRequest } from './messages.ts';
import { sessionOptions } from './session-options.ts';
import { fromTensor, type TensorMemory, tensorShape, toTensor } from './tensor.ts';

/** One buffer that grows to the largest picture, instead of one for every picture. */
function reusedMemory(): TensorMemory {
  let buffer = new ArrayBuffer(0);
  return (type, length) => {
    const bytes = type === 'uint8' ? length : length * 4;
    if (buffer.byteLength < bytes) buffer = new ArrayBuffer(bytes);
    return type === 'uint8' ? new Uint8Array(buffer, 0, length) : new Float32Array(buffer, 0, length);
  };
}
const inputMemory = reusedMemory();
const outputMemory = reusedMemory();

/** Bytes that the last picture left behind, for the next one to be drawn into. */
let spare: ArrayBufferLike | undefined;

function takeSpare(length: number): Uint8Array {
  const buffer = spare && spare.byteLength >= length ? spare : new ArrayBuffer(length);
  spare = undefined;
  return new Uint8Array(buffer, 0, length);
}

interface Loaded {
  readonly session: InferenceSession;
  readonly io: ModelIo;
  /** What a variant takes and gives; undefined for a file as it is, whose format comes with every request. */
  readonly format: TensorFormat | undefined;
}

const port = parentPort;
if (!port) throw new Error('inference-thread.ts runs as a worker thread only');
const models = new Map<string, Loaded>();
const detectors = new Map<string, InferenceSession>();
const { device } = workerData as ThreadData;

// One after the other, in the order in which they were asked.
let turn = Promise.resolve();
port.on('message', (request: ThreadRequest) => {
  turn = turn.then(() => answer(request)).then(({ reply, transfer }) => port.postMessage(reply, transfer));
});

async function answer(request: ThreadRequest): Promise<{ reply: ThreadReply; transfer: ArrayBuffer[] }> {
  try {
    return await work(request);
  } catch (error) {
    const fault = error instanceof Error ? error.message : String(error);
    const provider = error instanceof MissingProvider;
    return { reply: { kind: 'fault', id: request.id, fault, provider }, transfer: [] };
  }
}

async function work(request: ThreadRequest): Promise<{ reply: ThreadReply; transfer: ArrayBuffer[] }> {
  switch (request.kind) {
    case 'load':
      return { reply: await load(request), transfer: [] };
    case 'run': {
      const reply = await run(request);
      return { reply, transfer: [reply.pixels.buffer as ArrayBuffer] };
    }
    case 'load-detector':
      return { reply: await loadDetector(request), transfer: [] };
    case 'detect':
      return { reply: await detect(request), transfer: [] };
    case 'draw-face': {
      const reply = await drawFace(request);
      const { photo, drawing } = reply;
      return { reply, transfer: [photo.data.buffer as ArrayBuffer, drawing.data.buffer as ArrayBuffer] };
    }
  }
}

/** A model's file, once it is what the manifest says and keeps all its data to itself. */
async function readChecked({
  path,
  sha256: expected,
}: {
  readonly path: string;
  readonly sha256: string | undefined;
}): Promise<{ bytes: Buffer; sha256: string }> {
  const bytes = await readFile(path);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  if (expected !== undefined && sha256 !== expected)
    throw new Error(`its SHA-256 is ${sha256}, but the manifest says ${expected}`);
  const verdict = checkOnnx(bytes);
  if (verdict.kind === 'external-data')
    throw new Error('it keeps data outside of its file, which is refused; save it as one file');
  if (verdict.kind === 'overclaims') throw new Error('a tensor in it claims more values than the file has');
  if (verdict.kind === 'not-onnx') throw new Error('it is no ONNX file');
  return { bytes, sha256 };
}

async function load(request: ThreadRequest & { kind: 'load' }): Promise<ThreadReply> {
  const { bytes, sha256 } = await readChecked(request);
  const { providers, oneSize } = request;
  const options = sessionOptions({ providers, device, oneSize });
  const open = async () => {
    const session = await openOn(providers, bytes, options);
    oneInOneOut(session);
    return session;
  };
  const { exact, id, name } = request;
  const chosen: Chosen = exact
    ? await chooseExact({ ...exact, open, bytes, sha256 }, exact.folder, options)
    : { session: await open(), format: undefined, variant: 'f32' };
  const io = oneInOneOut(chosen.session);
  await models.get(name)?.session.release();
  models.set(name, { session: chosen.session, io, format: chosen.format });
  return { kind: 'loaded', id, io, sha256, variant: chosen.variant, why: chosen.why };
}

/** What was to compute a model is not in this ONNX Runtime, or finds no device. */
class MissingProvider extends Error {}

/** A session; ONNX Runtime would leave out a provider that it lacks without a word where another is named too. */
async function openOn(
  providers: readonly ExecutionProvider[],
  bytes: Uint8Array,
  options: InferenceSession.SessionOptions,
): Promise<InferenceSession> {
  const there = listSupportedBackends().map(({ name }) => name);
  const missing = providers.filter((name) => !there.includes(name));
  if (missing.length > 0)
    throw new MissingProvider(
      `execution provider ${missing.join(', ')}: the installed onnxruntime-node knows ${there.join(', ')} here`,
    );
  try {
    return await InferenceSession.create(bytes, options);
  } catch (error) {
    const { message } = error as Error;
    // Words of ONNX Runtime 1.30 for a library of a provider, a driver or a device that is not there.
    if (
      providers.every((name) => name === 'cpu') ||
      !/ExecutionProvider_|WebGpu|adapter|no available backend/i.test(message)
    )
      throw error;
    throw new MissingProvider(`execution provider ${providers.join(', ')}: ${message.split('\n')[0]}`, {
      cause: error,
    });
  }
}

function oneInOneOut(session: InferenceSession): ModelIo {
  const [input, ...moreIn] = session.inputMetadata;
  const [output, ...moreOut] = session.outputMetadata;
  if (!input?.isTensor || !output?.isTensor || moreIn.length + moreOut.length > 0) {
    throw new Error(
      `it has ${session.inputMetadata.length} inputs and ${session.outputMetadata.length} outputs; a generator has one tensor of each`,
    );
  }
  return {
    input: { type: input.type, shape: input.shape },
    output: { type: output.type, shape: output.shape },
  };
}

async function run({
  id,
  name,
  format,
  pixels,
  width,
  height,
}: ThreadRequest & { kind: 'run' }): Promise<ThreadReply & { kind: 'drawn'; pixels: Uint8Array }> {
  const started = performance.now();
  const drawn = await draw(loaded(name), format, pixels, width, height);
  return { kind: 'drawn', id, pixels: drawn, ms: performance.now() - started };
}

function loaded(name: string): Loaded {
  const model = models.get(name);
  if (!model) throw new Error(`${name} is not loaded`);
  return model;
}

/** Draws pixels with a loaded model. What comes back may stand in the memory that `pixels` came in. */
async function draw(
  model: Loaded,
  asked: TensorFormat,
  pixels: Uint8Array,
  width: number,
  height: number,
): Promise<Uint8Array> {
  const { session, io } = model;
  const format = model.format ?? asked;
  const shape = tensorShape(format.layout, width, height, io.input.shape.length !== 3);
  const [inputName = '', outputName = ''] = [session.inputNames[0], session.outputNames[0]];
  const input = toTensor(pixels, format, inputMemory);
  // ONNX Runtime draws into memory of ours: its own would be freed by the garbage collector, which sees no need to hurry.
  // And the drawing goes back in the memory that the photo came in, or in that of the photo before.
  const drawsBytes = format.output.type === 'uint8';
  const data = drawsBytes ? takeSpare(pixels.length) : outputMemory('float32', pixels.length);
  await session.run(
    { [inputName]: new Tensor(format.input.type, input, shape) },
    { [outputName]: new Tensor(format.output.type, data, shape) },
  );
  const drawn = fromTensor(data, format, pixels);
  if (drawsBytes) spare = drawn === data ? pixels.buffer : data.buffer;
  return drawn;
}

// ---- faces ----

async function loadDetector(request: ThreadRequest & { kind: 'load-detector' }): Promise<ThreadReply> {
  const { bytes, sha256 } = await readChecked(request);
  // A detector is small beside a generator: it stays where every machine has something to compute it.
  const options = sessionOptions({ providers: ['cpu'], device: 0, oneSize: false });
  const session = await InferenceSession.create(bytes, options);
  if (session.inputNames.length !== 1)
    throw new Error(`it has ${session.inputNames.length} inputs; a detector has one`);
  await detectors.get(request.name)?.release();
  detectors.set(request.name, session);
  return { kind: 'detector-loaded', id: request.id, sha256 };
}

async function detect({
  id,
  name,
  spec,
  pixels,
  width,
  height,
}: ThreadRequest & { kind: 'detect' }): Promise<ThreadReply> {
  const session = detectors.get(name);
  if (!session) throw new Error(`${name} is not loaded`);
  const started = performance.now();
  const size = detectorSize({ width, height }, spec);
  const shape = tensorShape(spec.layout, size.width, size.height);
  const input = detectorInput({ data: pixels, width, height }, size, spec, inputMemory);
  const outputs = await session.run({ [session.inputNames[0] ?? '']: new Tensor('float32', input, shape) });
  const anchors = anchorsOf(size.width, size.height, spec.anchors);
  const raw = sortOutputs(outputs, anchors.length / 4, spec.outputs);
  return {
    kind: 'detected',
    id,
    faces: readFaces(raw, anchors, size, spec),
    means: meansOf(raw),
    ms: performance.now() - started,
  };
}

async function drawFace(
  request: ThreadRequest & { kind: 'draw-face' },
): Promise<ThreadReply & { kind: 'face-drawn' }> {
  const { id, name, format, photo, drawing, plan, mask } = request;
  const started = performance.now();
  const model = loaded(name);
  const crop = new Uint8Array(plan.side * plan.side * 3);
  cropFace(photo, plan, crop);
  const face = await draw(model, format, crop, plan.side, plan.side);
  const tone = plan.tone === 'match' ? toneBetween(drawing, face, mask, plan) : OWN_TONE;
  blendFace(drawing, face, mask, plan, tone);
  // The larger one is kept: the next whole picture wants it.
  if (face.buffer.byteLength > (spare?.byteLength ?? 0)) spare = face.buffer;
  return { kind: 'face-drawn', id, photo, drawing, ms: performance.now() - started };
}
