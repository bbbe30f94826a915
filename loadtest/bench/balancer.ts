// `npm run bench balancer`: this balancer, nginx and HAProxy in front of the same sleeping workers, on the same trace.
// Sleepers show what a balancer does with slots and say nothing about drawing. Generator, workers and balancer share the
// machine, so figures compare within one run only.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import http from 'node:http';
import net, { type AddressInfo } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import sharp from 'sharp';
import { HEADERS, PATHS } from '../../config/contract.ts';
import { PACKAGE_ROOT } from '../../ops/process/package.ts';
import { thisCommit, thisMachine } from '../machine.ts';
import { available, type Behind, type Contender, contenders, type Front, startFront } from './rivals.ts';
import { type Due, idealFifo, LARGE_MS, SMALL_MS, traceOf } from './trace.ts';

const USAGE = `Usage: npm run bench balancer -- [--quick] [--rounds 3] [--seconds 20] [--only "toonfleet cost,nginx least_conn"]
                                 [--part overload]

Eight one-slot virtual workers, 90 % of the pictures take ${SMALL_MS} ms and 10 % ${LARGE_MS} ms, uploads of 200 KB with bytes of
their own, Poisson arrivals, a deadline of 1 s. Prints tables of: latency at 70, 80 and 90 % load; goodput and refusals at
1.3, 2 and 3 times the capacity; 20 slow uploaders beside; half of the workers killed; the cost of passing 200 KB on.
Needs nginx and haproxy in the PATH for their rows.

  --quick      one short round, without order fifo and plain HAProxy: less than 3 minutes, for a look and not for a claim
  --rounds N   rounds with seeds of their own, pooled
  --part P     only a part: latency, overload, trouble or passing; several with commas

Examples:
  npm run bench balancer -- --quick
  npm run bench balancer -- --rounds 3 --seconds 30
`;

const SLOTS = 8;
const DEADLINE_MS = 1000;
const UPLOAD_BYTES = 200_000;
const SELF = fileURLToPath(import.meta.url);

/** Left out of a quick run. */
const NOT_QUICK: readonly Contender[] = ['haproxy leastconn', 'toonfleet fifo'];

/** What one run can be made of. */
const PARTS = ['latency', 'overload', 'trouble', 'passing'] as const;
type Part = (typeof PARTS)[number];

/** How one request ended, as its client saw it. */
interface Ended {
  readonly large: boolean;
  /** From the moment when it was due. */
  readonly ms: number;
  readonly kind: 'answered' | 'refused' | 'failed';
}

/** Runs the bench; returns the exit code. */
export async function benchBalancer(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      quick: { type: 'boolean', default: false },
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      only: { type: 'string' },
      part: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  const rounds = Number(values.rounds ?? (values.quick ? 1 : 3));
  const seconds = Number(values.seconds ?? (values.quick ? 4 : 20));
  const asked = values.only?.split(',').map((name) => name.trim());
  const parts = new Set(values.part?.split(',').map((part) => part.trim()) ?? PARTS);
  const unknown = [
    ...(asked?.filter((name) => !contenders.some((contender) => contender === name)) ?? []),
    ...[...parts].filter((part) => !PARTS.some((known) => known === part)),
  ];
  if (unknown.length > 0 || !(rounds >= 1) || !(seconds >= 1)) {
    process.stderr.write(`${unknown.map((name) => `There is no "${name}".\n`).join('')}${USAGE}`);
    return 2;
  }
  const chosen = contenders.filter((name) =>
    asked ? asked.includes(name) : !(values.quick && NOT_QUICK.includes(name)),
  );
  const photos = { small: await photoOf(200), large: await photoOf(632) };
  const results = new Map<string, Result>();
  results.set('ideal FIFO', ideal(rounds, seconds));
  for (const name of chosen) {
    if (!available(name)) {
      process.stderr.write(`${name}: not installed, left out\n`);
      continue;
    }
    const result = emptyResult();
    results.set(name, result);
    for (let round = 1; round <= rounds; round++) {
      process.stderr.write(`${name}, round ${round} of ${rounds}\n`);
      await measure(name, result, photos, seconds, round, (part) => parts.has(part));
    }
  }
  print(results, rounds, seconds, args, (part) => parts.has(part));
  return 0;
}

/** Everything that was seen of one contender. */
interface Result {
  /** By load: all requests. */
  readonly latency: Map<number, Ended[]>;
  readonly overload: Map<number, Ended[]>;
  readonly slow: Ended[];
  readonly killed: Ended[];
  readonly passing: { addedMs: number[]; perSecond: number[] };
}

const LOADS = [0.7, 0.8, 0.9];
const OVERLOADS = [1.3, 2, 3];
/** The load of the runs with slow uploaders and with killed workers. */
const BESIDE = 0.6;
const KILLED = 0.4;

const emptyResult = (): Result => ({
  latency: new Map(LOADS.map((load) => [load, []])),
  overload: new Map(OVERLOADS.map((load) => [load, []])),
  slow: [],
  killed: [],
  passing: { addedMs: [], perSecond: [] },
});

const overloadSeconds = (seconds: number) => Math.max(3, seconds / 2);

function ideal(rounds: number, seconds: number): Result {
  const result = emptyResult();
  const play = (load: number, length: number, deadlineMs: number, into: Ended[] | undefined) => {
    for (let round = 1; round <= rounds; round++) {
      const trace = traceOf(load, SLOTS, length, round);
      for (const [index, ms] of idealFifo(trace, SLOTS, deadlineMs).entries())
        into?.push({
          large: trace[index]?.large === true,
          ms: ms ?? 0,
          kind: ms === undefined ? 'refused' : 'answered',
        });
    }
  };
  for (const load of LOADS) play(load, seconds, Number.POSITIVE_INFINITY, result.latency.get(load));
  for (const load of OVERLOADS) play(load, overloadSeconds(seconds), DEADLINE_MS, result.overload.get(load));
  play(BESIDE, seconds, Number.POSITIVE_INFINITY, result.slow);
  return result;
}

type Photos = Readonly<Record<'small' | 'large', Buffer>>;

async function measure(
  name: Contender,
  result: Result,
  photos: Photos,
  seconds: number,
  round: number,
  includes: (part: Part) => boolean,
): Promise<void> {
  if (includes('latency'))
    await withFront(name, round, photos, async (front) => {
      for (const load of LOADS)
        result.latency.get(load)?.push(...(await drive(front, traceOf(load, SLOTS, seconds, round), photos)));
    });
  if (includes('trouble'))
    await withFront(name, round, photos, async (front, kill) => {
      const uploaders = slowUploaders(front, 20);
      await sleep(500);
      result.slow.push(...(await drive(front, traceOf(BESIDE, SLOTS, seconds, round), photos)));
      uploaders.stop();
      await sleep(1000);
      setTimeout(kill, (seconds * 1000) / 2);
      result.killed.push(...(await drive(front, traceOf(KILLED, SLOTS, seconds, round), photos)));
    });
  // Each with fresh workers: what never refuses still has the backlog of the run before.
  if (includes('overload'))
    for (const load of OVERLOADS)
      await withFront(name, round, photos, async (front) => {
        const trace = traceOf(load, SLOTS, overloadSeconds(seconds), round);
        result.overload.get(load)?.push(...(await drive(front, trace, photos)));
      });
  if (includes('passing')) await measurePassing(name, result.passing, photos.small, Math.min(5, seconds));
}

/** Fresh workers and a fresh front, warmed up; `kill` ends half of the workers at once. */
async function withFront(
  name: Contender,
  round: number,
  photos: Photos,
  run: (front: Front, kill: () => void) => Promise<void>,
): Promise<void> {
  const halves = await Promise.all([startWorkers(SLOTS / 2, round), startWorkers(SLOTS / 2, round + 100)]);
  const urls = halves.flatMap(({ urls }) => urls);
  try {
    const front = await startFront(name, { urls, slots: 1, deadlineMs: DEADLINE_MS, serviceMs: LARGE_MS });
    try {
      // Code and connections are warm then, and what it learns is learnt.
      await drive(front, traceOf(0.5, SLOTS, 2, 99), photos);
      await run(front, () => halves[0]?.child.kill('SIGKILL'));
    } finally {
      await front.stop();
    }
  } finally {
    for (const { child } of halves) child.kill('SIGKILL');
  }
}

/** Sends each picture when it is due, whatever became of those before. A client gives up at its deadline. */
async function drive(front: Front, trace: readonly Due[], photos: Photos): Promise<Ended[]> {
  const agent = new http.Agent({ keepAlive: true });
  const start = performance.now() + 50;
  const flying: Promise<Ended>[] = [];
  for (const { atMs, large } of trace) {
    const waitMs = start + atMs - performance.now();
    if (waitMs > 1) await sleep(waitMs);
    flying.push(send(front.url, agent, ownBytes(large ? photos.large : photos.small), large, start + atMs));
  }
  const ended = await Promise.all(flying);
  agent.destroy();
  await sleep(300);
  return ended;
}

function send(url: string, agent: http.Agent, body: Buffer, large: boolean, dueAt: number): Promise<Ended> {
  return new Promise((resolve) => {
    const end = (kind: Ended['kind']) => {
      clearTimeout(patience);
      resolve({ large, kind, ms: performance.now() - dueAt });
    };
    const leftMs = Math.max(1, Math.ceil(dueAt + DEADLINE_MS - performance.now()));
    const request = http.request(`${url}${PATHS.images}`, {
      method: 'POST',
      agent,
      headers: {
        'content-type': 'image/jpeg',
        'content-length': body.length,
        [HEADERS.deadlineMs]: String(leftMs),
      },
    });
    const patience = setTimeout(() => request.destroy(new Error('gave up')), leftMs);
    request.on('error', () => end('failed'));
    request.on('response', (response) => {
      response.on('error', () => end('failed'));
      response.on('end', () => {
        const { statusCode = 0 } = response;
        end(statusCode === 200 ? 'answered' : statusCode === 503 ? 'refused' : 'failed');
      });
      response.resume();
    });
    request.end(body);
  });
}

/** Clients that send 200 KB at a trickle, again and again. */
function slowUploaders({ url }: Front, count: number): { stop(): void } {
  const { hostname, port } = new URL(url);
  const sockets = new Set<net.Socket>();
  let over = false;
  const begin = () => {
    if (over) return;
    const socket = net.connect(Number(port), hostname);
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('data', () => {});
    socket.write(
      `POST ${PATHS.images} HTTP/1.1\r\nHost: bench\r\nContent-Type: image/jpeg\r\nContent-Length: ${UPLOAD_BYTES}\r\nX-Deadline-Ms: 60000\r\n\r\n`,
    );
    const trickle = setInterval(() => socket.write(Buffer.alloc(1024)), 200);
    socket.on('close', () => {
      clearInterval(trickle);
      sockets.delete(socket);
      if (!over) setTimeout(begin, 200);
    });
  };
  for (let i = 0; i < count; i++) begin();
  return {
    stop() {
      over = true;
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** What it costs to pass 200 KB on: one client for the added time, eight for the rate, in front of a worker that only reads. */
async function measurePassing(
  name: Contender,
  into: Result['passing'],
  photo: Buffer,
  seconds: number,
): Promise<void> {
  const child = spawn(process.execPath, [...process.execArgv, SELF, '--serve'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const direct = `http://127.0.0.1:${Number(line.toString())}`;
  const behind: Behind = { urls: [direct], slots: 16, deadlineMs: 60_000, serviceMs: 1000 };
  const front = await startFront(name, behind);
  try {
    await closedLoop(front.url, photo, 8, 1);
    // Alternating, so that both meet the same machine.
    for (let turn = 0; turn < 3; turn++) {
      const bare = await closedLoop(direct, photo, 1, seconds / 6);
      const through = await closedLoop(front.url, photo, 1, seconds / 6);
      into.addedMs.push(percentile(through, 50) - percentile(bare, 50));
    }
    const all = await closedLoop(front.url, photo, 8, seconds);
    into.perSecond.push(all.length / seconds);
  } finally {
    await front.stop();
    child.kill('SIGKILL');
  }
}

async function closedLoop(url: string, photo: Buffer, clients: number, seconds: number): Promise<number[]> {
  const agent = new http.Agent({ keepAlive: true });
  const times: number[] = [];
  const until = performance.now() + seconds * 1000;
  await Promise.all(
    Array.from({ length: clients }, async () => {
      while (performance.now() < until) {
        const body = ownBytes(photo);
        const sent = performance.now();
        const { kind } = await send(url, agent, body, false, sent);
        if (kind === 'answered') times.push(performance.now() - sent);
      }
    }),
  );
  agent.destroy();
  return times;
}

/** Virtual workers of one process, which can be killed as one. */
async function startWorkers(count: number, seed: number): Promise<{ child: ChildProcess; urls: string[] }> {
  const child = spawn(
    process.execPath,
    [
      '--import',
      'tsx',
      'loadtest/virtual-worker.ts',
      '--workers',
      String(count),
      '--nodes',
      '2',
      // Small pictures have 0.04 megapixels and large ones 0.4.
      '--service',
      `${SMALL_MS / 0.04}ms/MP`,
      '--seed',
      String(seed),
    ],
    { cwd: PACKAGE_ROOT, stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const lines = createInterface({ input: child.stdout });
  const [line] = (await once(lines, 'line')) as [string];
  return { child, urls: (JSON.parse(line) as { url: string }[]).map(({ url }) => url) };
}

/** Where a photo's own number stands: in a JPEG comment right behind the start. */
const SERIAL_AT = 6;
const SERIAL_LENGTH = 16;
let serial = Date.now() * 1000;

/** A JPEG of a side, filled with comments to the weight of an upload. */
async function photoOf(side: number): Promise<Buffer> {
  const small = await sharp({ create: { width: side, height: side, channels: 3, background: '#abc' } })
    .jpeg()
    .toBuffer();
  const segments: Buffer[] = [segment(2 + SERIAL_LENGTH)];
  for (let left = UPLOAD_BYTES - small.length; left > 100; left -= 65_002)
    segments.push(segment(Math.min(65_000, left)));
  // The picture's own head stays in front of most of the filling, where readers look for its size.
  const head = small.subarray(2, small.length - 2);
  return Buffer.concat([small.subarray(0, 2), segments[0] ?? Buffer.alloc(0), ...trailing(head, segments)]);
}

/** Frame headers first, so that a reader finds the size within the first kilobytes; then the filling; then the scan. */
function trailing(picture: Buffer, segments: readonly Buffer[]): Buffer[] {
  const scan = picture.indexOf(Buffer.from([0xff, 0xda]));
  return [picture.subarray(0, scan), ...segments.slice(1), picture.subarray(scan), Buffer.from([0xff, 0xd9])];
}

function segment(length: number): Buffer {
  const bytes = Buffer.alloc(length + 2, 'x');
  bytes.writeUInt16BE(0xfffe, 0);
  bytes.writeUInt16BE(length, 2);
  return bytes;
}

function ownBytes(photo: Buffer): Buffer {
  const copy = Buffer.from(photo);
  serial += 1;
  copy.write(serial.toString(16).padStart(SERIAL_LENGTH, '0'), SERIAL_AT, 'latin1');
  return copy;
}

/** A worker that reads its upload and answers at once. */
async function serve(): Promise<void> {
  const picture = await sharp({ create: { width: 64, height: 64, channels: 3, background: '#abc' } })
    .png()
    .toBuffer();
  const styles = {
    styles: [
      {
        id: 'meadow',
        title: 'Virtual',
        model: 'virtual',
        licence: 'none',
        thumbnail_url: null,
        aliases: [],
        default: true,
      },
    ],
  };
  const server = http.createServer((request, response) => {
    request.resume().on('end', () => {
      if (request.method === 'POST')
        return response
          .writeHead(200, { 'content-type': 'image/png', 'content-length': picture.length })
          .end(picture);
      const body = JSON.stringify(request.url === PATHS.styles ? styles : { status: 'ready' });
      return response.writeHead(200, { 'content-type': 'application/json' }).end(body);
    });
  });
  server.keepAliveTimeout = 75_000;
  server.listen(0, '127.0.0.1', () => {
    process.stdout.write(`${(server.address() as AddressInfo).port}\n`);
  });
}

function percentile(values: readonly number[], percent: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * percent) / 100))] ?? Number.NaN;
}

/** Latencies of all; what was not answered counts as never. */
function latencies(ended: readonly Ended[], large?: boolean): number[] {
  return ended
    .filter((each) => large === undefined || each.large === large)
    .map(({ kind, ms }) => (kind === 'answered' ? ms : Number.POSITIVE_INFINITY));
}

const goodput = (ended: readonly Ended[]) =>
  ended.filter(({ kind, ms }) => kind === 'answered' && ms <= DEADLINE_MS).length;
const ms = (value: number) => (Number.isFinite(value) ? value.toFixed(0) : '> deadline');

function print(
  results: ReadonlyMap<string, Result>,
  rounds: number,
  seconds: number,
  args: string[],
  includes: (part: Part) => boolean,
): void {
  const { cpu, cores, os, node } = thisMachine();
  const entries = [...results];
  const rivals = entries.filter(([name]) => name !== 'ideal FIFO');
  const out = [
    `${cores} × ${cpu}, ${os}, Node ${node}, commit ${thisCommit() ?? 'unknown'}, ${new Date().toISOString().slice(0, 10)}`,
    `npm run bench balancer -- ${args.join(' ')} (${rounds} rounds of ${seconds} s, pooled; virtual workers)`,
    '',
  ];
  if (includes('latency')) out.push('Latency p50 / p95 / p99 in ms:', latencyTable(entries), '');
  if (includes('overload'))
    out.push(
      'Overload: goodput of the ideal (answered in time), refusals p50 / p95 in ms:',
      overloadTable(entries, results.get('ideal FIFO')),
      '',
    );
  if (includes('trouble'))
    out.push(
      `Trouble: 20 slow uploaders beside ${BESIDE * 100} % load; half of the workers killed at ${KILLED * 100} %:`,
      troubleTable(rivals),
      '',
    );
  if (includes('passing')) out.push('Passing 200 KB on:', passingTable(rivals), '');
  process.stdout.write(out.join('\n'));
}

const table = (head: string[], rows: string[][]) =>
  [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');

type Entries = readonly (readonly [name: string, result: Result])[];

function latencyTable(entries: Entries): string {
  const three = (values: number[]) =>
    [50, 95, 99].map((percent) => ms(percentile(values, percent))).join(' / ');
  return table(
    ['', ...LOADS.flatMap((load) => ['small', 'all'].map((what) => `${what}, ${load * 100} %`)), 'large p99'],
    entries.map(([name, { latency }]) => [
      name,
      ...LOADS.flatMap((load) => {
        const ended = latency.get(load) ?? [];
        return [three(latencies(ended, false)), three(latencies(ended))];
      }),
      LOADS.map((load) => ms(percentile(latencies(latency.get(load) ?? [], true), 99))).join(' / '),
    ]),
  );
}

function overloadTable(entries: Entries, best: Result | undefined): string {
  return table(
    ['', ...OVERLOADS.map((load) => `${load}×`)],
    entries.map(([name, { overload }]) => [
      name,
      ...OVERLOADS.map((load) => {
        const ended = overload.get(load) ?? [];
        const refused = ended.filter(({ kind }) => kind === 'refused').map((each) => each.ms);
        const share = goodput(ended) / goodput(best?.overload.get(load) ?? []);
        const refusals =
          refused.length === 0
            ? 'never refuses'
            : `${ms(percentile(refused, 50))} / ${ms(percentile(refused, 95))}`;
        return `${share.toFixed(2)}, ${refusals}`;
      }),
    ]),
  );
}

function troubleTable(entries: Entries): string {
  return table(
    ['', 'p99 beside slow uploaders', 'answered', 'killed: failed + refused'],
    entries.map(([name, { slow, killed }]) => [
      name,
      ms(percentile(latencies(slow), 99)),
      `${((100 * goodput(slow)) / slow.length).toFixed(1)} %`,
      `${killed.filter(({ kind }) => kind === 'failed').length} + ${killed.filter(({ kind }) => kind === 'refused').length} of ${killed.length}`,
    ]),
  );
}

function passingTable(entries: Entries): string {
  return table(
    ['', 'added p50 ms', 'requests/s'],
    entries.map(([name, { passing }]) => [
      name,
      percentile(passing.addedMs, 50).toFixed(2),
      percentile(passing.perSecond, 50).toFixed(0),
    ]),
  );
}

if (process.argv.includes('--serve') && process.argv[1] === SELF) await serve();
