// How many uploads the generator makes on one core, and how punctually: an open load of 200 KB photos against a server
// that reads each and answers at once. The server runs on the other core, so that neither waits for the other.
//
//   npm run bench generator [-- --qps 2000 --seconds 10 --json]

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { extname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { Target } from '../exchange.ts';
import { Generator } from '../generator.ts';
import { NodeWatch } from '../nodes.ts';
import { filledPhoto } from '../pictures.ts';
import { hold } from '../plans/plan.ts';
import { percent, qps as qpsWords } from '../report/words.ts';
import { printSheet } from './sheet.ts';

const PHOTO_BYTES = 200_000;
/** The server, compiled or as it was written, as this file itself is. */
const NO_OP = join(import.meta.dirname, `no-op${extname(import.meta.filename)}`);

async function measure(qps: number, seconds: number, json: boolean): Promise<void> {
  const pinned = availableParallelism() > 1;
  const command = [process.execPath, ...process.execArgv, NO_OP];
  const server = pinned
    ? spawn('taskset', ['-c', '1', ...command], { stdio: ['ignore', 'pipe', 'inherit'] })
    : spawn(process.execPath, command.slice(1), { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    const [line] = (await once(server.stdout, 'data')) as [Buffer];
    if (pinned) spawn('taskset', ['-a', '-p', '-c', '0', String(process.pid)], { stdio: 'ignore' });
    const target = new Target({
      url: new URL(`http://127.0.0.1:${Number(line.toString())}`),
      timeoutMs: 10_000,
    });
    const photo = await filledPhoto(64, PHOTO_BYTES);
    const generator = new Generator({
      target,
      path: '/v1/images',
      photos: [photo],
      styles: [],
      fields: {},
      maxSide: 1024,
      seed: 1,
      firstSerial: 1,
      arrivals: 'poisson',
      slo: { p95_ms: null, max_error_rate: null, max_cpu: null, max_worker_memory_mb: null },
      nodes: new NodeWatch({ agents: [], admin: undefined }),
      maxLateMs: 5,
      allowCache: false,
      checkEveryMs: 1000,
      drainMs: 5000,
      onProgress: () => {},
    });
    const spec = { purpose: 'hold' as const, grade: 'none' as const, early: null };
    // Warm code and connections first.
    await generator.run({ ...spec, label: 'warm-up', load: hold(qps / 2, 3) }, new AbortController().signal);
    const step = await generator.run(
      { ...spec, label: 'bench', load: hold(qps, seconds) },
      new AbortController().signal,
    );
    target.close();
    const { requests, ok, generator: own } = step;
    const figures = {
      offered_qps: step.offered_qps,
      achieved_qps: step.achieved_qps,
      requests,
      failed: requests - ok,
      upload_bytes: PHOTO_BYTES,
      late_p99_ms: own.late_p99_ms,
      late_max_ms: own.late_max_ms,
      loop_lag_p99_ms: own.loop_lag_p99_ms,
      generator_cpu: own.cpu,
      latency_ms: step.latency_ms,
      pinned,
    };
    const head = ['offered', 'achieved', 'failed', 'late, p99', 'event loop, p99', 'CPU of a core'];
    const row = [
      `${qpsWords(step.offered_qps)}/s`,
      `${qpsWords(step.achieved_qps)}/s`,
      `${requests - ok} of ${requests}`,
      `${own.late_p99_ms.toFixed(1)} ms`,
      `${own.loop_lag_p99_ms.toFixed(1)} ms`,
      percent(own.cpu),
    ];
    const title = `Uploads of ${PHOTO_BYTES / 1000} KB, generator ${pinned ? 'on one core, server on another' : 'and server on the same core'}`;
    const words = ['generator', ...process.argv.slice(2)];
    printSheet({ words, tables: [{ title, head, rows: [row] }], notes: [], data: figures }, json);
  } finally {
    server.kill();
  }
}

const { values } = parseArgs({
  options: {
    qps: { type: 'string', default: '2000' },
    seconds: { type: 'string', default: '10' },
    json: { type: 'boolean', default: false },
  },
});
await measure(Number(values.qps), Number(values.seconds), values.json);
