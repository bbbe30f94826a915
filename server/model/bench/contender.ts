// One contender of `npm run bench models` on ONNX Runtime: draws pictures when it is asked and says what each cost. A process
// of its own, so that its resident memory is its own. The contenders in Python (loadtest/bench/models/peer.py) speak alike.
//
// Run by the bench as: contender ORDER, a ContenderOrder as JSON. Prints {"ready": TITLE} or {"fault": WHY}; then each line
// of stdin, a DrawOrder, is answered by a DrawAnswer. Time counts from bytes to bytes.

import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { InferenceSession } from 'onnxruntime-node';
import type { TensorFormat } from '../entries/tensor-format.ts';
import { SESSION_OPTIONS } from '../inference/session-options.ts';
import { type Trial, trialOf } from '../optimize/trial.ts';
import { chooseExact } from '../variants/exact-variant.ts';
import type { ContenderOrder, DrawAnswer, DrawOrder } from './contenders.ts';

/** What somebody gets who sets nothing but that one core is one thread. */
const DEFAULTS: InferenceSession.SessionOptions = { intraOpNumThreads: 1, interOpNumThreads: 1 };

const order = JSON.parse(process.argv[2] ?? '') as ContenderOrder;
const say = (answer: { ready: string } | { fault: string } | DrawAnswer) =>
  process.stdout.write(`${JSON.stringify(answer)}\n`);

let trial: Trial | undefined;
try {
  trial = await start(order);
  say({ ready: order.engine });
} catch (error) {
  say({ fault: (error as Error).message });
}
if (trial) await serve(trial);

async function serve(drawing: Trial): Promise<void> {
  for await (const line of createInterface({ input: process.stdin })) {
    const { photo, width, height, keep } = JSON.parse(line) as DrawOrder;
    const picture = { data: new Uint8Array(readFileSync(photo)), width, height };
    try {
      const { data, cpuMs } = await drawing.draw(picture);
      if (keep !== null) writeFileSync(keep, data);
      say({ cpuMs, ...memory() });
    } catch (error) {
      say({ fault: (error as Error).message });
    }
  }
}

async function start({ engine, file, format, exact }: ContenderOrder): Promise<Trial> {
  const bytes = readFileSync(file);
  switch (engine) {
    case 'defaults':
      return trialOf(await InferenceSession.create(bytes, DEFAULTS), format);
    case 'level all':
    case 'int8':
      return trialOf(await InferenceSession.create(bytes, SESSION_OPTIONS), format);
    case 'exact':
      return await exactTrial(bytes, format, exact);
  }
}

/** As a worker loads it: kept since the bench made it, so that making it is not in this process's memory. */
async function exactTrial(
  bytes: Buffer,
  format: TensorFormat,
  exact: ContenderOrder['exact'],
): Promise<Trial> {
  if (!exact) throw new Error('nobody said where its variant is kept');
  const { folder, multiple, side } = exact;
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  const open = () => InferenceSession.create(bytes, SESSION_OPTIONS);
  const chosen = await chooseExact({ open, bytes, sha256, format, multiple, side }, folder, SESSION_OPTIONS);
  if (!chosen.format) throw new Error(chosen.why ?? 'no variant was made');
  return trialOf(chosen.session, chosen.format);
}

function memory(): { rssBytes: number; peakBytes: number } {
  const status = readFileSync('/proc/self/status', 'utf8');
  const row = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) * 1024;
  return { rssBytes: row('VmRSS'), peakBytes: row('VmHWM') };
}
