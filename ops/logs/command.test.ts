import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { HEADERS, INTERNAL_PATHS, logQuerySchema } from '../../config/contract.ts';
import { loadSettings } from '../../config/load.ts';
import { readLogs } from '../process/log-files.ts';
import { logsCommand } from './command.ts';

const KEY = 'a key that nodes share';
const line = (at: string, fields: object) =>
  `${JSON.stringify({ level: 'info', time: `2026-11-21T17:00:0${at}Z`, role: 'worker', message: 'request', ...fields })}\n`;

/** This VM's settings and logs, with two other nodes: one tells its logs, nobody listens at the other. */
async function fleet(t: TestContext) {
  const cwd = mkdtempSync(join(tmpdir(), 'logs-command-'));
  t.after(() => rmSync(cwd, { recursive: true, force: true }));
  const write = (folder: string, name: string, text: string) => {
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, name), text);
    return folder;
  };
  write(
    join(cwd, '.toonfleet/pm2/logs'),
    'balancer.log',
    line('1.000', { request_id: 'a' }) + line('3.000', { request_id: 'b' }),
  );
  const theirs = write(join(cwd, 'theirs'), 'worker.log', line('2.000', { request_id: 'a' }));
  const agent = createServer(async (request, response) => {
    const url = new URL(request.url ?? '', 'http://x');
    if (request.headers[HEADERS.nodeKey] !== KEY) response.writeHead(401).end('{"detail":"no key"}');
    else if (url.pathname === INTERNAL_PATHS.node) response.end('{"node":"vm-2"}');
    else {
      const query = logQuerySchema.parse(Object.fromEntries(url.searchParams));
      response.end(JSON.stringify({ node: 'vm-2', ...(await readLogs(theirs, query)) }));
    }
  });
  const dead = createServer();
  for (const server of [agent, dead]) await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const at = (server: typeof agent) => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const silent = at(dead);
  dead.close();
  t.after(() => agent.close());
  const run = async (args: string[], nodes: string[], key = KEY) => {
    const out: string[] = [];
    const err: string[] = [];
    const env = {
      TOONFLEET_NODE__NAME: 'vm-1',
      TOONFLEET_NODE__KEY: key,
      TOONFLEET_NODES: JSON.stringify(nodes.map((each) => ({ agent: each }))),
    };
    const terminal = { say: (text: string) => out.push(text), complain: (text: string) => err.push(text) };
    return { code: await logsCommand(args, () => loadSettings({ cwd, env }), terminal), out, err };
  };
  return { run, agent: at(agent), silent, theirs };
}

test('what became of one request stands in one list, whichever machines had it', async (t) => {
  const { run, agent } = await fleet(t);
  const { code, out } = await run(['--fleet', '--request', 'a', '--json'], [agent]);
  assert.equal(code, 0);
  assert.deepEqual(
    out.map((text) => JSON.parse(text).vm),
    ['vm-1', 'vm-2'],
  );
});

test('this VM alone is read without asking anybody, and one node alone by its name', async (t) => {
  const { run, agent, silent } = await fleet(t);
  assert.equal((await run([], [silent])).out.length, 2);
  const one = await run(['--node', 'vm-2'], [agent]);
  assert.equal(one.out.length, 1);
  assert.match(one.out[0] ?? '', /^2026-11-21 17:00:02\.000 {2}vm-2 {2}worker {2}INFO/);
});

test('a node that tells nothing is named with the reason, the others are shown, and the exit code is 1', async (t) => {
  const { run, agent, silent } = await fleet(t);
  const { code, out, err } = await run(['--fleet'], [agent, silent]);
  assert.equal(code, 1);
  assert.equal(out.length, 3);
  assert.match(err.join(''), /127\.0\.0\.1:\d+: nobody listens there/);
  const refused = await run(['--fleet'], [agent], 'another key of this fleet');
  assert.equal(refused.code, 1);
  assert.match(refused.err.join(''), /no key/);
});

test('logs that were not looked into are told of, with the machine that has them', async (t) => {
  const { run, agent, theirs } = await fleet(t);
  writeFileSync(join(theirs, 'worker.log.2.gz'), 'not read');
  const { code, err } = await run(['--fleet', '--request', 'nobody'], [agent]);
  assert.equal(code, 0);
  assert.equal(err.length, 1);
  assert.match(err[0] ?? '', /^vm-2: 1 older file is compressed and not looked through/);
});

for (const args of [
  ['--level', 'loud'],
  ['--since', 'noon'],
  ['--request', 'a b'],
  ['--node', 'vm-9'],
  ['up'],
  ['--lines', '0'],
  ['render', 'syslog'],
])
  test(`${args.join(' ')} is refused with the usage`, async (t) => {
    const { run, agent } = await fleet(t);
    const { code, err } = await run(args, [agent]);
    assert.equal(code, 2);
    assert.match(err.join(''), /toonfleet logs \[--fleet/);
  });
