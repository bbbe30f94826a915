import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import test, { type TestContext } from 'node:test';
import { loadSettings } from '../config/load.ts';
import { callerFor, fleetCommand } from './fleet.ts';

const TOKEN = 'an admin token of a test';

/** A balancer's admin port that a test plays, and the command that speaks to it. */
async function adminFor(context: TestContext, answer: { status: number; body: unknown }) {
  const calls: string[] = [];
  const server = http.createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (chunk: string) => {
      body += chunk;
    });
    request.on('end', () => {
      assert.equal(request.headers.authorization, `Bearer ${TOKEN}`);
      calls.push(`${request.method} ${request.url}${body === '' ? '' : ` ${body}`}`);
      response.writeHead(answer.status).end(JSON.stringify(answer.body));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  context.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  return { calls, run: (...words: string[]) => runAt(port, TOKEN, words) };
}

async function runAt(port: number, token: string | undefined, words: string[]) {
  const said: string[] = [];
  const keep = (text: string) => void said.push(text);
  const [command = 'status', ...args] = words;
  const settings = () =>
    loadSettings({
      cwd: '/nowhere',
      env: {
        TOONFLEET_BALANCER__ADMIN_PORT: String(port),
        ...(token === undefined ? {} : { TOONFLEET_BALANCER__ADMIN_TOKEN: token }),
      },
    });
  const code = await fleetCommand(command as 'status', args, settings, { say: keep, complain: keep });
  return { code, text: said.join('\n') };
}

test('a balancer that takes a call and answers nothing holds nobody for ever, but has the time that it is asked to wait', async (context) => {
  let answer = false;
  const server = http.createServer((_request, response) => {
    if (answer) setImmediate(() => response.end(JSON.stringify(DRAINED)));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  context.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const env = { TOONFLEET_BALANCER__ADMIN_TOKEN: TOKEN };
  const call = callerFor(loadSettings({ cwd: '/nowhere', env }), `http://127.0.0.1:${port}`, 30);
  await assert.rejects(call('GET', '/admin/v1/status'), /did not answer within 0\.03 s/);
  await assert.rejects(call('POST', '/admin/v1/nodes/a/drain?wait=20ms'), /did not answer within 0\.05 s/);
  answer = true;
  assert.deepEqual(await call('POST', '/admin/v1/nodes/a/drain'), DRAINED);
});

const DRAINED = { node: 'vm-1', draining: true, drained: true, in_flight: 0 };
const DIVIDED = { weights: { a: 95, b: 5 }, rollback: null, rolled_back: null };
const WATCHED = {
  ...DIVIDED,
  rollback: { max_error_ratio: 0.05, max_latency_ratio: 1.5, min_requests: 50 },
  seen: { a: { attempts: 900, faults: 2 } },
};
const CALLS: { words: string[]; answer: unknown; call: string; says: RegExp; code?: number }[] = [
  {
    words: ['drain', 'vm-1'],
    answer: DRAINED,
    call: 'POST /admin/v1/nodes/vm-1/drain?wait=30000ms',
    says: /vm-1 is drained/,
  },
  {
    words: ['drain', '10.0.0.1:8100', '--wait', '2m'],
    answer: { ...DRAINED, drained: false, in_flight: 2 },
    call: 'POST /admin/v1/nodes/10.0.0.1%3A8100/drain?wait=120000ms',
    says: /not idle yet \(2 in flight\)/,
    code: 3,
  },
  {
    words: ['undrain', 'vm-1'],
    answer: { ...DRAINED, draining: false, drained: false },
    call: 'POST /admin/v1/nodes/vm-1/undrain',
    says: /vm-1 works again/,
  },
  {
    words: ['node', 'add', 'vm-4', 'http://h:8001'],
    answer: {},
    call: 'PUT /admin/v1/nodes/vm-4 {"agent":"http://h:8001"}',
    says: /is a node/,
  },
  {
    words: ['node', 'add', 'w', 'http://h:8100', '--plain', '--slots', '2', '--release', '2.0'],
    answer: {},
    call: 'PUT /admin/v1/nodes/w {"url":"http://h:8100","slots":2,"release":"2.0"}',
    says: /is a node/,
  },
  { words: ['node', 'remove', 'vm-4'], answer: {}, call: 'DELETE /admin/v1/nodes/vm-4', says: /is out/ },
  {
    words: ['traffic', 'a=95', 'b=5', '--rollback'],
    answer: DIVIDED,
    call: 'PUT /admin/v1/traffic {"weights":{"a":95,"b":5},"rollback":true}',
    says: /a 95 %, b 5 %/,
  },
  { words: ['traffic'], answer: DIVIDED, call: 'GET /admin/v1/traffic', says: /a 95 %/ },
  {
    words: ['traffic'],
    answer: WATCHED,
    call: 'GET /admin/v1/traffic',
    says: /^b got no picture yet, so it is not judged \(from 50 attempts on\)$/m,
  },
  {
    words: ['traffic'],
    answer: { ...WATCHED, seen: { b: { attempts: 12, faults: 1 } } },
    call: 'GET /admin/v1/traffic',
    says: /^b: 1 of 12 attempts failed; too few to judge it \(from 50 on\)$/m,
  },
  {
    words: ['traffic'],
    answer: { ...WATCHED, seen: { b: { attempts: 812, faults: 3 } } },
    call: 'GET /admin/v1/traffic',
    says: /^b: 3 of 812 attempts failed; nothing speaks against it$/m,
  },
  {
    words: ['traffic', '--undivided'],
    answer: { ...DIVIDED, weights: null },
    call: 'PUT /admin/v1/traffic {"weights":null}',
    says: /not divided/,
  },
  {
    words: ['pause'],
    answer: { paused: true, queued: 3 },
    call: 'POST /admin/v1/pause',
    says: /paused; 3 pictures wait/,
  },
  { words: ['resume'], answer: { paused: false, queued: 3 }, call: 'POST /admin/v1/resume', says: /resumed/ },
];
for (const { words, answer, call, says, code = 0 } of CALLS)
  test(`toonfleet ${words.join(' ')} asks the balancer and tells what came of it`, async (context) => {
    const { calls, run } = await adminFor(context, { status: 200, body: answer });
    const ended = await run(...words);
    assert.deepEqual(calls, [call]);
    assert.match(ended.text, says);
    assert.equal(ended.code, code);
  });

const MISTAKES: [words: string[], says: RegExp][] = [
  [['drain'], /toonfleet drain NODE/],
  [['drain', 'a', 'b'], /toonfleet drain NODE/],
  [['drain', 'a', '--wait', 'soon'], /--wait: found "soon"/],
  [['pause', '--wait', '1s'], /pause takes no --wait/],
  [['traffic', 'a:5'], /Found "a:5"; allowed is RELEASE=WEIGHT/],
  [['traffic', '--rollback'], /needs weights/],
  [['node', 'replace', 'a', 'b'], /toonfleet node add/],
  [['node', 'add', 'a', 'http://h:1', '--slots', '2'], /for --plain workers/],
];
for (const [words, says] of MISTAKES)
  test(`toonfleet ${words.join(' ')} is refused before anybody is asked`, async (context) => {
    const { calls, run } = await adminFor(context, { status: 200, body: {} });
    const { code, text } = await run(...words);
    assert.equal(code, 2);
    assert.match(text, says);
    assert.deepEqual(calls, []);
  });

test("the balancer's own sentence is shown when it says no, and the exit code tells it", async (context) => {
  const { run } = await adminFor(context, {
    status: 409,
    body: { error: 'Too few would stay.', code: 'conflict' },
  });
  assert.deepEqual(await run('drain', 'vm-1'), { code: 1, text: 'Too few would stay.' });
});

test('a balancer that dies over an order is not said to be missing: the order may stand, and to repeat it is safe', async (context) => {
  const heard: string[] = [];
  const server = http.createServer((request) => {
    heard.push(`${request.method} ${request.url}`);
    request.socket.destroy();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  context.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  const ordered = await runAt(port, TOKEN, ['drain', 'vm-1']);
  assert.equal(ordered.code, 1);
  assert.match(
    ordered.text,
    /^The balancer at \S+ ended before it answered\. What was asked may be done or not: see toonfleet status, or give the same command again, which is safe\.$/,
  );
  // A question changes nothing.
  const asked = await runAt(port, TOKEN, ['status']);
  assert.match(asked.text, /^The balancer at \S+ ended before it answered\. Give the same command again\.$/);
  assert.deepEqual(heard, ['POST /admin/v1/nodes/vm-1/drain?wait=30000ms', 'GET /admin/v1/status']);
});

test('without a token, and with no balancer there, a sentence says what to do', async () => {
  const none = await runAt(1, undefined, ['status']);
  assert.equal(none.code, 1);
  assert.match(none.text, /set TOONFLEET_BALANCER__ADMIN_TOKEN/);
  const gone = await runAt(1, TOKEN, ['status']);
  assert.equal(gone.code, 1);
  assert.match(gone.text, /No balancer answers at http:\/\/127\.0\.0\.1:1 \(ECONNREFUSED\)/);
});
