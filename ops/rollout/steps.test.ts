import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { loadSettings } from '../../config/load.ts';
import { startAgent } from '../agent/agent.ts';
import { closeInOrder } from '../process/lifecycle.ts';
import { SILENT } from '../process/log.ts';
import { rosterOf } from './node.ts';
import { rolloutStep } from './steps.ts';

test('a node is not drained behind the back of a balancer that refuses the token', async (t) => {
  const cwd = mkdtempSync(join(tmpdir(), 'steps-'));
  const agent = await startAgent(
    loadSettings({ env: { TOONFLEET_AGENT__PORT: '0', TOONFLEET_NODE__NAME: 'vm-1' }, cwd }),
    SILENT,
  );
  const balancer = createServer((_request, response) => response.writeHead(401).end('{}'));
  balancer.listen(0, '127.0.0.1');
  await once(balancer, 'listening');
  t.after(async () => {
    await closeInOrder(agent.close, SILENT, 'test');
    balancer.close();
    balancer.closeAllConnections();
    rmSync(cwd, { recursive: true, force: true });
  });
  const settings = loadSettings({
    env: {
      TOONFLEET_BALANCER__ADMIN_TOKEN: 'a token of another balancer',
      TOONFLEET_BALANCER__ADMIN_PORT: String((balancer.address() as AddressInfo).port),
    },
    cwd,
  });
  const url = `http://127.0.0.1:${agent.address.port}`;
  assert.equal(await rolloutStep(['drain', '--agent', url, '--within', '1s'], settings), 1);
  assert.equal((await rosterOf({ agent: url, key: undefined }))?.draining, false);
});
