// `npm run bench cache`: what a kept picture costs beside a drawn one. The same service twice, with its response cache
// off and on; photos with bytes of their own, then photos that were sent before. Every answer's X-Cache has to be what
// was asked for, else there is no figure.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { HEADERS, PATHS } from '../../config/contract.ts';
import { Target } from '../exchange.ts';
import { Durations, type Percentiles } from '../histogram.ts';
import { drawPhotos, type Photo } from '../pictures.ts';
import { startService } from './service.ts';
import { printSheet } from './sheet.ts';

const USAGE = `Usage: npm run bench cache -- [--seconds 10] [--clients 6] [--side 512] [--json]

Measures latency and requests a second of the whole service on this machine: with the response cache off, with it on and
photos that nobody sent before, and with it on and photos that are kept.

Examples:
  npm run bench cache
  npm run bench cache -- --seconds 5 --clients 2
`;

/** So many photos are kept; fewer would measure one photo, more would only take longer to draw first. */
const KEPT = 16;
const WARM_UP_SECONDS = 2;

/** One row: what was sent, and what X-Cache has to say to it. */
interface Series {
  readonly title: string;
  readonly expected: string;
  readonly perSecond: number;
  readonly ms: Percentiles;
}

/** Runs the bench; returns the exit code. */
export async function benchCache(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      seconds: { type: 'string', default: '10' },
      clients: { type: 'string', default: '6' },
      side: { type: 'string', default: '512' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const [seconds, clients, side] = [values.seconds, values.clients, values.side].map(Number);
  const whole = (value: number | undefined): value is number => Number.isInteger(value) && (value ?? 0) > 0;
  if (values.help || !whole(seconds) || !whole(clients) || !whole(side)) {
    process.stdout.write(USAGE);
    return values.help ? 0 : 2;
  }
  const photos = await drawPhotos(1, [{ width: side, height: side }]);
  const run = { photos, clients };
  const series = [
    ...(await withService(false, async (url) => [
      await drive(url, { ...run, title: 'cache off, new photos', expected: 'bypass', seconds, fresh: true }),
    ])),
    ...(await withService(true, async (url) => {
      const miss = await drive(url, {
        ...run,
        title: 'cache on, new photos',
        expected: 'miss',
        seconds,
        fresh: true,
      });
      await keep(url, photos);
      const hit = { ...run, title: 'cache on, kept photos', expected: 'hit', seconds, fresh: false };
      return [miss, await drive(url, hit)];
    })),
  ];
  const ms = (value: number) => value.toFixed(1);
  printSheet(
    {
      words: ['cache', ...args],
      tables: [
        {
          title: `${side} px photos, ${clients} clients in a closed loop, ${seconds} s each`,
          head: ['', `${HEADERS.cache}`, 'requests/s', 'p50 ms', 'p95 ms', 'p99 ms'],
          rows: series.map(({ title, expected, perSecond, ms: { p50, p95, p99 } }) => [
            title,
            expected,
            perSecond.toFixed(1),
            ms(p50),
            ms(p95),
            ms(p99),
          ]),
        },
      ],
      notes: [
        'Clients, balancer and workers share the cores of one machine; a hit has them without the workers.',
      ],
      data: { series },
    },
    values.json,
  );
  return 0;
}

async function withService<T>(cache: boolean, measure: (url: string) => Promise<T>): Promise<T> {
  const dataDir = mkdtempSync(join(tmpdir(), 'toonfleet-bench-'));
  try {
    const env = { TOONFLEET_BALANCER__CACHE: String(cache) };
    const service = await startService(dataDir, undefined, undefined, env);
    try {
      return await measure(service.url);
    } finally {
      await service.stop();
    }
  } finally {
    rmSync(dataDir, { recursive: true, force: true });
  }
}

/** Has the pictures of the first photos drawn, so that they are kept. */
async function keep(url: string, photos: readonly Photo[]): Promise<void> {
  const target = new Target({ url: new URL(url), timeoutMs: 60_000 });
  for (let serial = 0; serial < KEPT; serial++) await send(target, photos, serial, undefined);
  target.close();
}

interface Wave {
  readonly photos: readonly Photo[];
  readonly clients: number;
  readonly title: string;
  readonly expected: string;
  readonly seconds: number;
  /** Photos with bytes that nobody has sent. */
  readonly fresh: boolean;
}

/** A closed loop of clients; what comes before they are warm is not counted. */
async function drive(
  url: string,
  { photos, clients, title, expected, seconds, fresh }: Wave,
): Promise<Series> {
  const target = new Target({ url: new URL(url), timeoutMs: 60_000 });
  let next = fresh ? Date.now() * 1000 : 0;
  const serial = () => (fresh ? next++ : next++ % KEPT);
  const loop = async (forSeconds: number, times: Durations) => {
    const until = performance.now() + forSeconds * 1000;
    const client = async () => {
      while (performance.now() < until) {
        const from = performance.now();
        await send(target, photos, serial(), expected);
        if (performance.now() < until) times.add(performance.now() - from);
      }
    };
    await Promise.all(Array.from({ length: clients }, client));
  };
  await loop(WARM_UP_SECONDS, new Durations());
  const times = new Durations();
  await loop(seconds, times);
  target.close();
  const ms = times.percentiles();
  if (!ms) throw new Error(`${title}: nothing was answered within ${seconds} s`);
  return { title, expected, perSecond: times.count / seconds, ms };
}

/** @throws when the answer is not the one that was asked for: then the figures would be of something else. */
async function send(
  target: Target,
  photos: readonly Photo[],
  serial: number,
  expected: string | undefined,
): Promise<void> {
  const photo = photos[serial % photos.length];
  if (!photo) throw new Error('there are no photos to send');
  const answer = await target.post(PATHS.images, photo.upload.body(serial, {}));
  const said = 'bytes' in answer ? `${answer.status}, ${HEADERS.cache}: ${answer.cache}` : answer.detail;
  if (answer.status !== 200 || !('bytes' in answer) || (expected !== undefined && answer.cache !== expected))
    throw new Error(`answered ${said}; expected 200, ${HEADERS.cache}: ${expected ?? 'any'}`);
}
