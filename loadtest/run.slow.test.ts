import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { readOptions } from './options.ts';
import { PreflightError } from './preflight.ts';
import { seeded } from './random.ts';
import { runSchema } from './result.ts';
import { defaultSlo, runLoadTest } from './run.ts';
import { startVirtualWorker } from './virtual-worker.ts';

/** Runs a command line; gives back the exit code, the report and what was kept. */
async function run(args: string, interrupt = new AbortController().signal) {
  const output = { out: '', err: '', kept: 0 };
  const options = readOptions(args.split(' '), defaultSlo(), (path) => readFileSync(path, 'utf8'));
  const exit = await runLoadTest(options, {
    command: `toonfleet loadtest ${args}`,
    out: { write: (text) => (output.out += text) },
    err: { write: (text) => (output.err += text) },
    interrupt,
    keep: () => {
      output.kept += 1;
      return 'kept.json';
    },
  });
  return { exit, ...output };
}

async function server(t: TestContext, answer: http.RequestListener): Promise<string> {
  const listening = http.createServer((request, response) => {
    request.resume().on('end', () => answer(request, response));
  });
  listening.listen(0, '127.0.0.1');
  await once(listening, 'listening');
  t.after(() => {
    listening.close();
    listening.closeAllConnections();
  });
  return `127.0.0.1:${(listening.address() as AddressInfo).port}`;
}

async function virtual(t: TestContext, slots: number, ms: number): Promise<string> {
  const worker = await startVirtualWorker({
    name: 'virtual-1',
    port: 0,
    slots,
    service: () => ms,
    random: seeded(1),
  });
  t.after(() => worker.close());
  return worker.url;
}

const nobody = '--agents off --admin off --sizes 64x64';

const styles = JSON.stringify({ styles: [] });
const withStyles =
  (answer: http.RequestListener): http.RequestListener =>
  (request, response) => {
    if (request.url === '/v1/styles')
      response.writeHead(200, { 'content-type': 'application/json' }).end(styles);
    else answer(request, response);
  };

const unusable: { name: string; answer: http.RequestListener; exit: 3 | 4; says: RegExp }[] = [
  {
    name: 'a server of another kind',
    answer: (_, response) => response.writeHead(404).end(),
    exit: 4,
    says: /is http:\/\/\S+ a toonfleet\?/,
  },
  {
    name: 'a page for every path',
    answer: (_, response) => response.writeHead(200, { 'content-type': 'text/html' }).end('<p>hi'),
    exit: 4,
    says: /no list of styles/,
  },
  {
    name: 'a server that answers 200 with rubbish',
    answer: withStyles((_, response) =>
      response.writeHead(200, { 'content-type': 'image/png' }).end('rubbish'),
    ),
    exit: 4,
    says: /answered 200, but with not a picture/,
  },
  {
    name: 'a server that answers JSON where a picture was asked for',
    answer: withStyles((_, response) =>
      response.writeHead(200, { 'content-type': 'application/json' }).end('{}'),
    ),
    exit: 4,
    says: /a body of type application\/json/,
  },
  {
    name: 'a rate limit on the first picture',
    answer: withStyles((_, response) =>
      response.writeHead(429, { 'retry-after': '1' }).end('{"code":"rate_limited"}'),
    ),
    exit: 3,
    says: /you met the rate limit, not the ceiling.*rate_limited/,
  },
  {
    name: 'a fleet without a worker',
    answer: withStyles((_, response) => response.writeHead(503).end('{"code":"no_upstream"}')),
    exit: 4,
    says: /no worker is usable.*no_upstream/,
  },
];
for (const { name, answer, exit, says } of unusable) {
  test(`${name} is told in words, and nothing is loaded`, async (t) => {
    const host = await server(t, answer);
    await assert.rejects(
      run(`http://${host} ${nobody}`),
      (error) => error instanceof PreflightError && error.exit === exit && says.test(error.message),
    );
  });
}

test('no server, no name and no TLS are told apart', async (t) => {
  const host = await server(t, (_, response) => response.end());
  const cases: [string, RegExp][] = [
    ['http://127.0.0.1:1', /nothing listens at http:\/\/127\.0\.0\.1:1; is toonfleet running there\?/],
    [`https://${host}`, /TLS with https:\/\/\S+ failed; --ca FILE trusts an authority/],
  ];
  for (const [url, says] of cases) {
    await assert.rejects(
      run(`${url} ${nobody}`),
      (error) => error instanceof PreflightError && says.test(error.message),
    );
  }
});

test('the ceiling of virtual workers is found; JSON and HTML say what it is and that they were virtual', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'toonfleet-load-'));
  t.after(() => rmSync(dir, { recursive: true }));
  const url = await virtual(t, 2, 20);
  const json = join(dir, 'run.json');
  const html = join(dir, 'run.html');
  const { exit, out, kept } = await run(
    `${url} ${nobody} --p95 400ms --max-late 1s --start-qps 50 --step 1s --confirm 1s --requests 20 --precision 30% --json ${json} --html ${html}`,
  );
  const report = runSchema.parse(JSON.parse(readFileSync(json, 'utf8')));
  assert.equal(exit, 0, out);
  // Two slots of 20 ms: 100 a second, less what a request costs; short steps can be a little off.
  assert.ok((report.ceiling_qps ?? 0) > 50 && (report.ceiling_qps ?? 0) < 125, `${report.ceiling_qps}`);
  assert.equal(report.fleet.virtual, true);
  assert.equal(kept, 0, 'virtual ceilings are not kept for the capacity plan');
  assert.match(out, /virtual workers \(they sleep instead of drawing\)/);
  const page = readFileSync(html, 'utf8');
  assert.match(page, /were <b>virtual<\/b>/);
  assert.match(page, /<svg/);
  assert.doesNotMatch(page, /(src|href)="?https?:/, 'the page needs nothing from anywhere');
});

test('CPU and memory that nobody told are not graded, and the report says so', async (t) => {
  const url = await virtual(t, 2, 5);
  const { exit, out } = await run(`${url} ${nobody} --plan soak --qps 20 --duration 1s --max-late 1s`);
  assert.equal(exit, 0);
  assert.match(out, /CPU and memory of the nodes were not measured and are not graded/);
});

test('a run that is worse than its baseline exits as not met', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'toonfleet-load-'));
  t.after(() => rmSync(dir, { recursive: true }));
  const json = join(dir, 'fast.json');
  const load = `${nobody} --plan soak --qps 20 --duration 3s --max-late 1s`;
  await run(`${await virtual(t, 4, 5)} ${load} --json ${json}`);
  const slower = await run(`${await virtual(t, 4, 60)} ${load} --baseline ${json}`);
  assert.equal(slower.exit, 1, slower.out);
  assert.match(slower.out, /mean at 20\.0\/s: .*: worse/);
});

test('Ctrl-C leaves a report of what was measured', async (t) => {
  const url = await virtual(t, 2, 5);
  const interrupt = new AbortController();
  const running = run(`${url} ${nobody} --plan soak --qps 20 --duration 60s --max-late 1s`, interrupt.signal);
  setTimeout(() => interrupt.abort(), 1500);
  const { exit, out } = await running;
  assert.equal(exit, 130);
  assert.match(out, /INTERRUPTED: Ended by Ctrl-C/);
  assert.match(out, /hold 20\.0\/s/);
});
