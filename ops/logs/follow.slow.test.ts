import assert from 'node:assert/strict';
import { once } from 'node:events';
import { appendFileSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { logQuerySchema } from '../../config/contract.ts';
import { loadSettings } from '../../config/load.ts';
import { readLogs } from '../process/log-files.ts';
import { until } from '../process/trial.ts';
import { logsCommand } from './command.ts';

function folderFor(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'follow-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** The setting `nodes` with one agent in it, which is none but for its logs. */
async function fleetOf(t: TestContext, answer: RequestListener): Promise<string> {
  const agent = createServer(answer).listen(0, '127.0.0.1');
  await once(agent, 'listening');
  t.after(() => {
    agent.close();
    agent.closeAllConnections();
  });
  return JSON.stringify([{ agent: `http://127.0.0.1:${(agent.address() as AddressInfo).port}` }]);
}

const line = (n: number) =>
  `${JSON.stringify({ level: 'info', time: new Date(Date.UTC(2026, 10, 21) + n).toISOString(), role: 'worker', n })}\n`;

test('what is written while somebody follows is shown once, from here and from another node, over a rotation', async (t) => {
  const cwd = folderFor(t);
  const log = (folder: string, name: string) => {
    mkdirSync(join(cwd, folder, 'pm2/logs'), { recursive: true });
    return join(cwd, folder, 'pm2/logs', name);
  };
  const [here, there] = [log('here', 'balancer.log'), log('there', 'worker.log')];
  const place = (name: string, env: Record<string, string> = {}) =>
    loadSettings({ cwd, env: { TOONFLEET_DATA_DIR: join(cwd, name), TOONFLEET_NODE__NAME: name, ...env } });
  const nodes = await fleetOf(t, async (request, response) => {
    const query = logQuerySchema.parse(
      Object.fromEntries(new URL(request.url ?? '', 'http://x').searchParams),
    );
    response.end(JSON.stringify({ node: 'there', ...(await readLogs(dirname(there), query)) }));
  });

  const shown: { vm: string; n: number }[] = [];
  const terminal = {
    say: (text: string) => shown.push(JSON.parse(text)),
    complain: (text: string) => assert.fail(text),
  };
  const came = (count: number) =>
    until(
      () => shown.length >= count,
      20_000,
      () => JSON.stringify(shown),
    );
  appendFileSync(here, line(0));
  const over = new AbortController();
  const settings = () => place('here', { TOONFLEET_NODES: nodes });
  const command = logsCommand(['--fleet', '--follow', '--json'], settings, terminal, over.signal);
  await came(1);
  appendFileSync(there, line(1));
  await came(2);
  renameSync(there, `${there}.1`);
  appendFileSync(`${there}.1`, line(2));
  appendFileSync(there, line(3));
  appendFileSync(here, line(4));
  await came(5);
  over.abort();
  assert.equal(await command, 0);
  assert.deepEqual(
    shown.sort((a, b) => a.n - b.n).map(({ vm, n }) => `${vm} ${n}`),
    ['here 0', 'there 1', 'there 2', 'there 3', 'here 4'],
  );
});

test('a node that falls silent while somebody follows is named once, and again when it is back', async (t) => {
  const cwd = folderFor(t);
  let asked = 0;
  let well = true;
  const nodes = await fleetOf(t, (_request, response) => {
    asked++;
    if (!well) response.statusCode = 500;
    response.end(JSON.stringify({ node: 'there', entries: [], cursor: 'x', more: false }));
  });
  const settings = () => loadSettings({ cwd, env: { TOONFLEET_NODE__NAME: 'here', TOONFLEET_NODES: nodes } });
  const told: string[] = [];
  const terminal = { say: () => {}, complain: (text: string) => told.push(text) };
  const over = new AbortController();
  const command = logsCommand(['--fleet', '--follow'], settings, terminal, over.signal);
  const askedAgain = async (times: number) => {
    const wanted = asked + times;
    await until(
      () => asked >= wanted,
      20_000,
      () => `${asked} of ${wanted} questions`,
    );
  };
  await askedAgain(2);
  well = false;
  await askedAgain(3);
  well = true;
  await askedAgain(2);
  over.abort();
  assert.equal(await command, 1);
  assert.deepEqual(told, ['there: status 500', 'there: tells its logs again']);
});
