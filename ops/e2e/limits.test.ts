// Clients with keys and limits of their own meet a real cluster: made with the command, told by the settings file, behind
// a real nginx, and from a page elsewhere in a real browser.

import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { NO_BROWSER, startBrowser } from './browser.ts';
import { type Cluster, type Site, site, startCluster, toonfleet, until, untilWorkers } from './cluster.ts';
import { photo } from './pictures.ts';

interface Client {
  readonly name: string;
  readonly key: string;
  readonly sha256: string;
}

async function makeKey(at: Site, name: string): Promise<Client> {
  const { code, output } = await toonfleet(at, 'keys', 'make', name, '--json');
  assert.equal(code, 0, output);
  // A checkout may say in front of it that it compiles.
  return JSON.parse(output.split('\n').find((line) => line.startsWith('{')) ?? '') as Client;
}

function writeSettings(at: Site, keys: readonly object[], more = ''): void {
  writeFileSync(join(at.cwd, 'toonfleet.yaml'), `balancer:\n  api_keys: ${JSON.stringify(keys)}\n${more}`);
}

async function draw(url: string, seed: number, headers: Record<string, string> = {}, side = 256) {
  const response = await fetch(`${url}/v1/images`, {
    method: 'POST',
    body: new Uint8Array(await photo(seed, side, side)),
    headers: { 'content-type': 'image/jpeg', ...headers },
    signal: AbortSignal.timeout(60_000),
  });
  const body = Buffer.from(await response.arrayBuffer());
  return { status: response.status, headers: response.headers, body, at: performance.now() };
}
type Drawn = Awaited<ReturnType<typeof draw>>;

const withKey = ({ key }: Client) => ({ authorization: `Bearer ${key}` });
const times = <T>(count: number, make: (index: number) => T): T[] =>
  Array.from({ length: count }, (_, i) => make(i));

async function shed(cluster: Cluster, reason: string): Promise<number> {
  const text = await (await fetch(`${cluster.adminUrl}/metrics`)).text();
  return Number(
    new RegExp(`^toonfleet_shed_total\\{reason="${reason}"\\} (\\d+)$`, 'm').exec(text)?.[1] ?? 0,
  );
}

interface AccessLine {
  readonly key?: string;
  readonly priority?: string;
  readonly status: number;
  readonly client: string;
}

/** The balancer's access lines, once they are such: it writes them together, a tenth of a second after they were made. */
async function accessLines(at: Site, isSo: (lines: readonly AccessLine[]) => boolean): Promise<AccessLine[]> {
  const read = () =>
    readFileSync(join(at.home, 'logs/balancer.log'), 'utf8')
      .split('\n')
      .filter((line) => line.includes('"message":"request"') && line.endsWith('}'))
      .map((line) => JSON.parse(line) as AccessLine);
  await until(
    () => isSo(read()),
    5_000,
    () => `never logged so:\n${JSON.stringify(read())}`,
  );
  return read();
}

test('two keys with limits of their own and one for batch work meet a real cluster', async (context) => {
  const at = await site(context, { TOONFLEET_LOG_LEVEL: 'info' });
  const [shop, app, archive] = [
    await makeKey(at, 'shop'),
    await makeKey(at, 'app'),
    await makeKey(at, 'archive'),
  ];
  const listed = [
    { name: 'shop', sha256: shop.sha256, requests: 6, per: '12s' },
    { name: 'app', sha256: app.sha256, requests: 1000, per: '1m', concurrent: 2 },
    { name: 'archive', sha256: archive.sha256, requests: 0, priority: 'batch' },
  ];
  writeSettings(at, listed);
  const cluster = await startCluster(at);
  await untilWorkers(cluster, 2);

  await context.test('without a key nothing is drawn, and all that costs little is open', async () => {
    const none = await draw(cluster.url, 1);
    assert.equal(none.status, 401);
    assert.match(none.headers.get('www-authenticate') ?? '', /^Bearer/);
    assert.equal((await draw(cluster.url, 1, { authorization: `Bearer ${shop.key}x` })).status, 401);
    for (const path of ['/', '/docs', '/live', '/ready', '/health', '/v1/styles']) {
      const response = await fetch(cluster.url + path);
      assert.equal(response.status, 200, path);
      await response.arrayBuffer();
    }
  });

  await context.test('who is over its rate is told when to come back, and is drawn then', async () => {
    const answers = await Promise.all(times(10, (i) => draw(cluster.url, 100 + i, withKey(shop))));
    const refused = answers.filter(({ status }) => status === 429);
    assert.equal(answers.filter(({ status }) => status === 200).length, 6);
    assert.equal(refused.length, 4);
    assert.equal(await shed(cluster, 'key_rate'), 4);
    // The other key is not touched.
    assert.equal((await draw(cluster.url, 120, withKey(app))).status, 200);
    const told = refused.map(({ headers }) => Number(headers.get('retry-after')));
    assert.equal(new Set(told).size, 4, `each has a moment of its own: ${told}`);
    const again = await Promise.all(
      refused.map(async ({ at: refusedAt }, i) => {
        await wait(Math.max(0, refusedAt + (told[i] ?? 0) * 1000 - performance.now()));
        return draw(cluster.url, 130 + i, withKey(shop));
      }),
    );
    assert.deepEqual(
      again.map(({ status }) => status),
      [200, 200, 200, 200],
    );
  });

  await context.test('who has too many under way is told so', async () => {
    const answers = await Promise.all(times(6, (i) => draw(cluster.url, 200 + i, withKey(app), 640)));
    const refused = answers.filter(({ status }) => status === 429);
    assert.ok(refused.length >= 1 && refused.length <= 4, `${refused.length} of 6 were refused`);
    assert.equal(await shed(cluster, 'key_concurrency'), refused.length);
    assert.match(refused[0]?.headers.get('ratelimit') ?? '', /"key-concurrent";r=0;t=\d+/);
  });

  await context.test('live users pass batch work, whatever it claims to be', async () => {
    const claim = { 'x-priority': 'interactive' };
    const batch = times(16, (i) => draw(cluster.url, 300 + i, { ...withKey(archive), ...claim }, 768));
    await until(
      async () =>
        /^toonfleet_queue_length\{class="batch"\} ([8-9]|1\d)$/m.test(
          await (await fetch(`${cluster.adminUrl}/metrics`)).text(),
        ),
      30_000,
      () => 'the batch work does not wait',
    );
    const live = await draw(cluster.url, 400, withKey(app), 768);
    const done = await Promise.all(batch);
    assert.equal(live.status, 200);
    assert.ok(done.every(({ status }) => status === 200));
    const before = done.filter(({ at: doneAt }: Drawn) => doneAt < live.at).length;
    assert.ok(before <= 10, `${before} of 16 batch pictures came before the live one`);
  });

  await context.test('the log has the names of keys and never a key', async () => {
    const countOf = (lines: readonly AccessLine[], name: string) =>
      lines.filter(({ key }) => key === name).length;
    const lines = await accessLines(
      at,
      (all) => countOf(all, 'shop') === 14 && countOf(all, 'archive') === 16,
    );
    const archived = lines.filter(({ key }) => key === 'archive');
    assert.ok(archived.every(({ priority }) => priority === 'batch'));
    const text = readFileSync(join(at.home, 'logs/balancer.log'), 'utf8');
    for (const { key } of [shop, app, archive]) assert.ok(!text.includes(key));
  });

  await context.test('a key whose line is taken out is closed by a reload', async () => {
    writeSettings(at, listed.slice(1));
    const { code, output } = await toonfleet(at, 'reload', 'balancer');
    assert.equal(code, 0, output);
    assert.equal((await draw(cluster.url, 500, withKey(shop))).status, 401);
    await untilWorkers(cluster, 2);
    assert.equal((await draw(cluster.url, 501, withKey(app))).status, 200);
  });
});

const missing = (...command: [string, ...string[]]): string | false => {
  const [program, ...args] = command;
  return spawnSync(program, args).status === 0 ? false : `${program} is not installed`;
};

/** Ends a process that this test has started, and waits for it. */
async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}

/** A real nginx in front, which tells whom it speaks for as its own documentation says. */
async function startNginx(context: TestContext, backend: string): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'toonfleet-nginx-'));
  const server = http.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  const file = join(folder, 'nginx.conf');
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  writeFileSync(
    file,
    `daemon off; master_process off; pid ${folder}/pid; error_log ${folder}/error.log; events {}
     http { access_log off; ${paths.map((name) => `${name}_temp_path ${folder}/${name};`).join(' ')}
       server { listen 127.0.0.1:${port}; location / {
         proxy_pass ${backend}; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; } } }\n`,
  );
  const nginx = spawn('nginx', ['-p', folder, '-c', file, '-e', join(folder, 'error.log')], {
    stdio: 'ignore',
  });
  context.after(async () => {
    await end(nginx);
    rmSync(folder, { recursive: true, force: true });
  });
  const url = `http://127.0.0.1:${port}`;
  await until(
    () =>
      fetch(`${url}/live`).then(
        ({ ok }) => ok,
        () => false,
      ),
    10_000,
    () => `nginx does not answer: ${readFileSync(join(folder, 'error.log'), 'utf8')}`,
  );
  return url;
}

/** One small picture from an address of loopback. */
function drawFrom(
  url: string,
  from: string,
  picture: Buffer,
  headers: Record<string, string> = {},
): Promise<number> {
  return new Promise((resolve, reject) => {
    const request = http.request(
      `${url}/v1/images`,
      {
        method: 'POST',
        localAddress: from,
        agent: false,
        headers: { 'content-type': 'image/jpeg', ...headers },
      },
      (response) => {
        response.resume().once('end', () => resolve(response.statusCode ?? 0));
      },
    );
    request.once('error', reject);
    request.end(picture);
  });
}

test('behind a real nginx each client has its own limit, and claims are worth nothing', {
  skip: missing('nginx', '-v'),
}, async (context) => {
  const at = await site(context, {
    TOONFLEET_BALANCER__RATE_LIMIT__REQUESTS: '2',
    TOONFLEET_BALANCER__RATE_LIMIT__PER: '1h',
    TOONFLEET_BALANCER__TRUSTED_PROXIES: '["127.0.0.1"]',
    TOONFLEET_LOG_LEVEL: 'info',
  });
  const cluster = await startCluster(at);
  const nginx = await startNginx(context, cluster.url);
  const picture = await photo(1, 64, 64);
  const claims = (i: number) => ({ 'x-forwarded-for': `9.9.9.${i}`, forwarded: `for=9.9.9.${i}` });
  const statuses: number[] = [];
  for (let i = 1; i <= 3; i++) statuses.push(await drawFrom(nginx, '127.0.0.7', picture, claims(i)));
  assert.deepEqual(statuses, [200, 200, 429]);
  assert.equal(await drawFrom(nginx, '127.0.0.8', picture), 200);
  // Past nginx, from an address that nobody trusts: the same client as before, whatever it claims.
  assert.equal(await drawFrom(cluster.url, '127.0.0.7', picture, claims(4)), 429);
  const clientsOf = (lines: readonly AccessLine[]) =>
    [...new Set(lines.map(({ client }) => client))].filter((c) => c !== '127.0.0.1').sort();
  const lines = await accessLines(at, (all) => clientsOf(all).length >= 2);
  assert.deepEqual(clientsOf(lines), ['127.0.0.7', '127.0.0.8']);
});

/** What the page of the test finds out in its browser. */
interface Found {
  readonly status?: number;
  readonly type?: string | null;
  readonly bytes?: number;
  readonly style?: string | null;
  readonly rateLimit?: string | null;
  readonly refused?: { readonly status: number; readonly code: string };
  readonly error?: string;
}

/** A page on an origin of its own: sends a photo elsewhere with a key, and reports what it could read. */
async function page(context: TestContext, backend: string, key: string, picture: Buffer) {
  const script = `
    const photo = Uint8Array.from(atob(${JSON.stringify(picture.toString('base64'))}), (c) => c.charCodeAt(0));
    const send = (headers) => fetch(${JSON.stringify(`${backend}/v1/images`)}, {
      method: 'POST', body: photo, headers: { 'content-type': 'image/jpeg', ...headers } });
    const report = (found) => fetch('/report', { method: 'POST', body: JSON.stringify(found) });
    (async () => {
      const answer = await send({ 'x-api-key': ${JSON.stringify(key)}, 'x-request-id': 'from-a-page' });
      const bytes = (await answer.arrayBuffer()).byteLength;
      const refused = await send({ 'x-api-key': 'wrong' });
      await report({ status: answer.status, type: answer.headers.get('content-type'), bytes,
        style: answer.headers.get('x-style'), rateLimit: answer.headers.get('ratelimit'),
        refused: { status: refused.status, code: (await refused.json()).code } });
    })().catch((error) => report({ error: String(error) }));`;
  let tell: (found: Found) => void = () => {};
  const found = new Promise<Found>((resolve) => {
    tell = resolve;
  });
  const server = http.createServer((request, response) => {
    if (request.method === 'POST') {
      let text = '';
      request.on('data', (chunk: Buffer) => {
        text += chunk.toString();
      });
      request.once('end', () => {
        response.end();
        tell(JSON.parse(text) as Found);
      });
    } else {
      response.writeHead(200, { 'content-type': 'text/html' });
      response.end(`<!doctype html><title>elsewhere</title><script>${script}</script>`);
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  context.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return { origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, found };
}

test('a page elsewhere draws from a real browser when its origin is listed, and cannot when it is not', {
  skip: NO_BROWSER,
}, async (context) => {
  const at = await site(context);
  const shop = await makeKey(at, 'shop');
  const picture = await photo(7, 128, 128);
  // The pages need the address of the balancer, and the balancer those of the pages; both are known before it starts.
  const listed = await page(context, at.url, shop.key, picture);
  const stranger = await page(context, at.url, shop.key, picture);
  writeSettings(
    at,
    [{ name: 'shop', sha256: shop.sha256, requests: 100 }],
    `  cors: ${JSON.stringify([listed.origin])}\n`,
  );
  await startCluster(at);

  await startBrowser(context, listed.origin);
  const found = await listed.found;
  assert.equal(found.error, undefined);
  assert.deepEqual(
    { ...found, bytes: undefined, rateLimit: undefined },
    {
      status: 200,
      type: 'image/png',
      bytes: undefined,
      style: 'meadow',
      rateLimit: undefined,
      refused: { status: 401, code: 'unauthorized' },
    },
  );
  assert.match(found.rateLimit ?? '', /^"key";r=99;t=\d+$/);
  assert.ok((found.bytes ?? 0) > 100);

  await startBrowser(context, stranger.origin);
  assert.match((await stranger.found).error ?? '', /Failed to fetch/);
});

test('the built-in page asks for a key where one is needed, and draws with it', {
  skip: NO_BROWSER,
}, async (context) => {
  const at = await site(context);
  const shop = await makeKey(at, 'shop');
  writeSettings(at, [{ name: 'shop', sha256: shop.sha256 }]);
  const file = join(at.cwd, 'photo.jpg');
  writeFileSync(file, await photo(8, 256, 256));
  const cluster = await startCluster(at);
  const browser = await startBrowser(context, cluster.url);
  await browser.until("document.querySelectorAll('#cards input').length > 0");
  await browser.choose('#file', file);
  await browser.until("document.activeElement.id === 'key'");
  await browser.type('not-the-key');
  await browser.enter();
  await browser.until("/not known here/.test(document.getElementById('fault').innerText)");
  await browser.evaluate("document.getElementById('key').select()");
  await browser.type(shop.key);
  await browser.enter();
  await browser.until("!document.getElementById('done').hidden");
});
