import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { logReplySchema } from '../../config/contract.ts';
import { loadSettings } from '../../config/load.ts';
import { closeInOrder } from '../process/lifecycle.ts';
import { SILENT } from '../process/log.ts';
import { startAgent } from './agent.ts';

const KEY = 'a key that nodes share';

/** An agent whose machine has two lines in its worker's log; the answer asks it. */
async function agentWithLogs(t: TestContext, env: Record<string, string> = {}) {
  const cwd = mkdtempSync(join(tmpdir(), 'agent-logs-'));
  const settings = loadSettings({
    env: { TOONFLEET_AGENT__PORT: '0', TOONFLEET_NODE__NAME: 'vm-1', ...env },
    cwd,
  });
  const logs = join(settings.data_dir, 'pm2/logs');
  mkdirSync(logs, { recursive: true });
  const line = (level: string, id: string) =>
    `${JSON.stringify({ level, time: '2026-11-21T17:00:00.000Z', role: 'worker', request_id: id })}\n`;
  writeFileSync(join(logs, 'worker.log'), line('info', 'a') + line('error', 'b'));
  const agent = await startAgent(settings, SILENT);
  t.after(async () => {
    await closeInOrder(agent.close, SILENT, 'test');
    rmSync(cwd, { recursive: true, force: true });
  });
  return (query: string, headers: Record<string, string> = {}, host = '127.0.0.1') =>
    fetch(`http://${host}:${agent.address.port}/v1/node/logs${query}`, { headers });
}

test('an agent tells the lines that are asked for, to who has the key', async (t) => {
  const ask = await agentWithLogs(t, { TOONFLEET_NODE__KEY: KEY });
  assert.equal((await ask('')).status, 401);
  assert.equal((await ask('', { 'x-node-key': `${KEY}!` })).status, 401);
  const answer = await ask('?level=warn', { 'x-node-key': KEY });
  const { node, entries, more } = logReplySchema.parse(await answer.json());
  assert.deepEqual([node, entries.length, more], ['vm-1', 1, false]);
  assert.match(entries[0]?.text ?? '', /"request_id":"b"/);
});

test('what makes no sense is refused with the name of the field', async (t) => {
  const ask = await agentWithLogs(t);
  for (const [query, field] of [
    ['?lines=100000', 'lines'],
    ['?level=loud', 'level'],
    ['?app=../../etc/passwd', 'app'],
    ['?request=%00', 'request'],
    ['?cursor=eA', 'cursor'],
    ['?folder=/etc', 'query'],
  ] as const) {
    const answer = await ask(query);
    assert.equal(answer.status, 400, query);
    const { detail } = (await answer.json()) as { detail: string };
    assert.ok(detail.startsWith(field), detail);
  }
});

const outside = Object.values(networkInterfaces())
  .flatMap((list) => list ?? [])
  .find(({ family, internal }) => family === 'IPv4' && !internal)?.address;

test('without a node key this machine itself may still ask, by any of its addresses', {
  skip: outside === undefined && 'this machine has no address beside loopback',
}, async (t) => {
  const ask = await agentWithLogs(t, { TOONFLEET_AGENT__HOST: '0.0.0.0' });
  assert.equal((await ask('')).status, 200);
  assert.equal((await ask('', {}, outside)).status, 200);
});

test('what a proxy on this machine passes on is not asked by this machine', async (t) => {
  const ask = await agentWithLogs(t);
  for (const header of ['forwarded', 'x-forwarded-for', 'x-real-ip', 'via'])
    assert.equal((await ask('', { [header]: '203.0.113.9' })).status, 401, header);
  const withKey = await agentWithLogs(t, { TOONFLEET_NODE__KEY: KEY });
  assert.equal((await withKey('', { 'x-node-key': KEY, via: '1.1 proxy' })).status, 200);
});
