import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { INTERNAL_PATHS } from '../../config/contract.ts';
import { loadSettings } from '../../config/load.ts';
import { rolloutStep } from './steps.ts';

async function serve(t: TestContext, answer: RequestListener): Promise<number> {
  const server = createServer(answer).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return (server.address() as AddressInfo).port;
}

test('a node is not drained behind the back of a balancer that refuses the token', async (t) => {
  const cwd = mkdtempSync(join(tmpdir(), 'steps-'));
  t.after(() => rmSync(cwd, { recursive: true, force: true }));
  const roster = {
    node: 'vm-1',
    zone: '',
    release: 'old',
    preemptible: false,
    draining: false,
    workers: [],
  };
  const drains: string[] = [];
  const agent = await serve(t, ({ url, method }, response) => {
    if (url === INTERNAL_PATHS.nodeDrain) drains.push(method ?? '');
    const body = url === INTERNAL_PATHS.node ? roster : { draining: true, seen: true, busy: 0 };
    response.end(JSON.stringify(body));
  });
  const balancer = await serve(t, (_request, response) => response.writeHead(401).end('{}'));
  const settings = loadSettings({
    env: {
      TOONFLEET_BALANCER__ADMIN_TOKEN: 'a token of another balancer',
      TOONFLEET_BALANCER__ADMIN_PORT: String(balancer),
    },
    cwd,
  });
  const args = ['drain', '--agent', `http://127.0.0.1:${agent}`, '--within', '1s'];
  assert.equal(await rolloutStep(args, settings), 1);
  assert.deepEqual(drains, []);
});
