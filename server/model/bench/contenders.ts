// Starts the contenders of `npm run bench models`, each in a process of its own on one core, and asks them for drawings one at
// a time: while one draws, the others wait. Knows their line protocol; nothing of models and tables.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { settingsSchema } from '../../../config/schema.ts';
import { earlyEnv } from '../../../ops/apps.ts';
import type { TensorFormat } from '../entries/tensor-format.ts';

/** What ONNX Runtime's contenders can be. */
export type Engine = 'defaults' | 'level all' | 'exact' | 'int8';
/** What the contenders in Python can be. */
export type PeerEngine = 'torch' | 'openvino-f32' | 'openvino-bf16';

/** What a contender on ONNX Runtime is told when it starts. */
export interface ContenderOrder {
  readonly engine: Engine;
  readonly file: string;
  readonly format: TensorFormat;
  /** Where the exact variant was kept, and what it was tried on. */
  readonly exact?: { readonly folder: string; readonly multiple: number; readonly side: number };
}

/** One picture to draw; files hold RGB bytes. */
export interface DrawOrder {
  readonly photo: string;
  readonly width: number;
  readonly height: number;
  /** Where the drawing goes; null throws it away. */
  readonly keep: string | null;
}

const answerSchema = z.union([
  z.object({ cpuMs: z.number(), rssBytes: z.number(), peakBytes: z.number() }),
  z.object({ fault: z.string() }),
]);
/** What one picture cost, and the memory of the process after it. */
export type DrawAnswer = { readonly cpuMs: number; readonly rssBytes: number; readonly peakBytes: number };
const readySchema = z.union([z.object({ ready: z.string() }), z.object({ fault: z.string() })]);

/** A contender that is ready. */
export interface Contender {
  readonly title: string;
  /** @throws {Error} when the contender fails on the picture. */
  draw(order: DrawOrder): Promise<DrawAnswer>;
  close(): Promise<void>;
}

/** How processes are started: all on this core, where the system can say so. */
export interface Place {
  readonly core: number | undefined;
}

/** The last core that this process may use; undefined where `taskset` is missing. */
export function lastCore(): number | undefined {
  const asked = spawnSync('taskset', ['-cp', String(process.pid)], { encoding: 'utf8' });
  const last = /(\d+)\s*$/.exec(asked.stdout ?? '')?.[1];
  return last === undefined ? undefined : Number(last);
}

/**
 * Starts a contender on ONNX Runtime.
 * @throws {Error} when it does not come up; its message says why.
 */
export async function startContender(order: ContenderOrder, place: Place): Promise<Contender> {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  const script = fileURLToPath(new URL(`./contender.${extension}`, import.meta.url));
  const command = [process.execPath, ...process.execArgv, script, JSON.stringify(order)];
  // Workers whose settings say nothing are started with these; who uses ONNX Runtime by itself has nothing.
  const early = order.engine === 'defaults' ? {} : earlyEnv(settingsSchema.parse({}));
  return await ready(command, place, order.engine, early);
}

/**
 * Starts a contender in Python.
 * @param python The interpreter that has what loadtest/bench/models/requirements.txt names.
 * @throws {Error} when it does not come up, or has no such precision; its message says why.
 */
export async function startPeer(
  engine: PeerEngine,
  { python, script, file, format }: { python: string; script: string; file: string; format: TensorFormat },
  place: Place,
): Promise<Contender> {
  const form = { layout: format.layout, input: format.input.range, output: format.output.range };
  return await ready([python, script, engine, file, JSON.stringify(form)], place, undefined);
}

async function ready(
  command: readonly string[],
  { core }: Place,
  title: string | undefined,
  early: Readonly<Record<string, string>> = {},
): Promise<Contender> {
  const [program = '', ...args] = core === undefined ? command : ['taskset', '-c', String(core), ...command];
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, ...early } });
  let complaints = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaints = (complaints + text).slice(-2000);
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async (): Promise<unknown> => {
    const { value, done } = await lines.next();
    if (done) throw new Error(`it ended: ${complaints.trim().split('\n').at(-1) || 'without a word'}`);
    return JSON.parse(value as string);
  };
  const close = () => ended(child);
  try {
    const said = readySchema.parse(await next());
    if ('fault' in said) throw new Error(said.fault);
    return {
      title: title ?? said.ready,
      async draw(order) {
        child.stdin.write(`${JSON.stringify(order)}\n`);
        const answer = answerSchema.parse(await next());
        if ('fault' in answer) throw new Error(answer.fault);
        return answer;
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

async function ended(child: ChildProcess): Promise<void> {
  child.stdin?.end();
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill();
  await once(child, 'close');
}
