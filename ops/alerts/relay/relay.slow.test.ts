// The relay whole, between an Alertmanager that a test plays and doubles of the services outside.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { loadSettings } from '../../../config/load.ts';
import { closeInOrder } from '../../process/lifecycle.ts';
import { type Log, SILENT } from '../../process/log.ts';
import { startRelay } from './relay.ts';

const TOKEN = 'a token of the relay';

interface Call {
  readonly url: string;
  readonly headers: Record<string, string | string[] | undefined>;
  readonly body: string;
}

/** A double of a service outside: it answers by a script, then always with the last of it. */
async function double(context: TestContext, script: readonly [status: number, body: string][]) {
  const calls: Call[] = [];
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += String(chunk);
    const [status, text] = script[Math.min(calls.length, script.length - 1)] ?? [200, ''];
    calls.push({ url: request.url ?? '', headers: request.headers, body });
    response.writeHead(status).end(text);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  context.after(() => {
    server.close();
    server.closeAllConnections();
  });
  const { port } = server.address() as AddressInfo;
  return { calls, url: `http://127.0.0.1:${port}/send` };
}

async function relayWith(context: TestContext, env: Record<string, string>, log: Log = SILENT) {
  const prefixed = Object.fromEntries(
    Object.entries({ TOKEN, PORT: '0', ...env }).map(([name, value]) => [
      `TOONFLEET_ALERTS__RELAY__${name}`,
      value,
    ]),
  );
  const relay = await startRelay(loadSettings({ env: prefixed, cwd: tmpdir() }), log);
  context.after(() => closeInOrder(relay.close, SILENT, 'test'));
  const base = `http://127.0.0.1:${relay.address.port}`;
  const tell = (channel: string, body: object = webhook(), token = TOKEN) =>
    fetch(`${base}/v1/alerts/${channel}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
  return { base, tell };
}

/** What Alertmanager sends. */
const webhook = (change: object = {}) => ({
  version: '4',
  groupKey: '{}:{alertname="NodeDown"}',
  truncatedAlerts: 0,
  status: 'firing',
  receiver: 'critical',
  groupLabels: { alertname: 'NodeDown' },
  commonLabels: { alertname: 'NodeDown', severity: 'critical' },
  commonAnnotations: {},
  externalURL: 'http://am:9093',
  alerts: [
    {
      status: 'firing',
      labels: { alertname: 'NodeDown', instance: 'vm-1:8001', severity: 'critical' },
      annotations: { summary: 'The node vm-1:8001 does not answer' },
      startsAt: '2026-01-02T03:04:05.678Z',
      endsAt: '0001-01-01T00:00:00Z',
      generatorURL: 'http://prometheus:9090/graph',
      fingerprint: 'f1',
    },
  ],
  ...change,
});

const GOOD = '{"errcode":0,"errmsg":"ok"}';

test('a notice reaches the robot, with its key and as markdown', async (context) => {
  const wecom = await double(context, [[200, GOOD]]);
  const { tell } = await relayWith(context, { WECOM_URL: wecom.url, WECOM_KEY: 'key-of-a-robot' });
  const response = await tell('wecom');
  assert.deepEqual([response.status, await response.json()], [200, { status: 'sent' }]);
  const [call] = wecom.calls;
  assert.equal(call?.url, '/send?key=key-of-a-robot');
  const { msgtype, markdown } = JSON.parse(call?.body ?? '') as {
    msgtype: string;
    markdown: { content: string };
  };
  assert.equal(msgtype, 'markdown');
  assert.match(markdown.content, /NodeDown/);
});

test('a robot that says 200 and means no is asked again, and the metric counts one message', async (context) => {
  const wecom = await double(context, [
    [200, '{"errcode":-1,"errmsg":"system busy"}'],
    [200, GOOD],
  ]);
  const { base, tell } = await relayWith(context, { WECOM_URL: wecom.url, WECOM_KEY: 'key-of-a-robot' });
  assert.deepEqual(await (await tell('wecom')).json(), { status: 'sent' });
  assert.equal(wecom.calls.length, 2);
  const metrics = await (await fetch(`${base}/metrics`)).text();
  assert.match(metrics, /toonfleet_relay_messages_total\{channel="wecom",end="sent"\} 1\n/);
  assert.match(metrics, /toonfleet_relay_messages_total\{channel="wecom",end="failed"\} 0\n/);
  assert.match(metrics, /toonfleet_relay_retries_total\{channel="wecom"\} 1\n/);
});

test('a wrong key is told in the log, without the key, and not tried for ever', async (context) => {
  const lines: string[] = [];
  const note = (fields: object, message: string) => void lines.push(`${message} ${JSON.stringify(fields)}`);
  const wecom = await double(context, [[200, '{"errcode":93000,"errmsg":"invalid webhook url"}']]);
  const env = { WECOM_URL: wecom.url, WECOM_KEY: 'key-of-a-robot' };
  const { tell } = await relayWith(context, env, { debug: note, info: note, warn: note, error: note });
  assert.deepEqual(await (await tell('wecom')).json(), { status: 'failed' });
  assert.ok(lines.some((line) => line.includes('notices were given up') && line.includes('93000')));
  assert.ok(lines.some((line) => line.startsWith('alert firing') && line.includes('vm-1:8001')));
  assert.ok(!lines.join().includes('key-of-a-robot'));
});

test('Aliyun, Tencent and any other gateway get what they ask for', async (context) => {
  const cases = {
    aliyun: [
      '{"Code":"OK","Message":"OK"}',
      /TemplateParam=%7B%22alert%22%3A%22NodeDown%20vm-1%3A8001%22%7D/,
    ],
    tencent: [
      '{"Response":{"SendStatusSet":[{"Code":"Ok"}]}}',
      /"TemplateParamSet":\["NodeDown vm-1:8001"\]/,
    ],
    http: ['', /^\{"phones":\["\+8613800000000"\],"text":"NodeDown vm-1:8001"\}$/],
  } as const;
  for (const [provider, [answer, wanted]] of Object.entries(cases)) {
    const gateway = await double(context, [[200, answer]]);
    const { tell } = await relayWith(context, {
      SMS__PROVIDER: provider,
      SMS__URL: gateway.url,
      SMS__PHONES: '["+8613800000000"]',
      SMS__KEY_ID: 'an-id',
      SMS__KEY_SECRET: 'a secret of the key',
      SMS__SIGN: 'toonfleet',
      SMS__TEMPLATE: 'SMS_1',
      SMS__APP: '1400006666',
    });
    assert.deepEqual(await (await tell('sms')).json(), { status: 'sent' }, provider);
    const [call] = gateway.calls;
    assert.match(call?.body ?? '', wanted, provider);
    const signed = provider === 'aliyun' ? call?.body : String(call?.headers.authorization);
    assert.match(
      signed ?? '',
      { aliyun: /Signature=/, tencent: /^TC3-HMAC-SHA256 /, http: /^Bearer a secret/ }[provider] ?? /$^/,
    );
    assert.ok(!(call?.body ?? '').includes('a secret of the key'));
  }
});

function folderOf(context: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'relay-'));
  context.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Whether a process runs; one that is dead and that nobody has collected yet does not. */
function runs(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

test('the hook is run with the alert, without a shell, and only while it fires', async (context) => {
  const folder = folderOf(context);
  const program = join(folder, 'scale-out');
  writeFileSync(
    program,
    `#!/bin/sh\necho "$1 $ALERT_NAME $ALERT_INSTANCES" >> ${folder}/ran\ncat > ${folder}/stdin\n`,
    {
      mode: 0o755,
    },
  );
  const { tell } = await relayWith(context, { HOOK: JSON.stringify([program, '$(id) 1']), HOOK_PAUSE: '0s' });
  assert.deepEqual(await (await tell('hook')).json(), { status: 'sent' });
  assert.deepEqual(await (await tell('hook', webhook({ status: 'resolved', groupKey: 'x' }))).json(), {
    status: 'sent',
  });
  assert.equal(readFileSync(join(folder, 'ran'), 'utf8'), '$(id) 1 NodeDown vm-1:8001\n');
  assert.equal(JSON.parse(readFileSync(join(folder, 'stdin'), 'utf8')).status, 'firing');
});

test('a hook that hangs is killed with what it started, and tried again; one that is not there is not', async (context) => {
  const folder = folderOf(context);
  const program = join(folder, 'scale-out');
  // Hangs once, then works.
  writeFileSync(
    program,
    `#!/bin/sh\n[ -e ${folder}/child ] && exit 0\nsleep 600 & echo $! > ${folder}/child\nwait\n`,
    { mode: 0o755 },
  );
  const env = { HOOK: JSON.stringify([program]), HOOK_PAUSE: '0s', HOOK_TIMEOUT: '500ms' };
  const { tell } = await relayWith(context, env);
  assert.deepEqual(await (await tell('hook')).json(), { status: 'sent' });
  assert.equal(runs(Number(readFileSync(join(folder, 'child'), 'utf8'))), false);
  const missing = await relayWith(context, { HOOK: '["/nowhere/scale-out"]' });
  assert.deepEqual(await (await missing.tell('hook')).json(), { status: 'failed' });
});

test('who has no token, asks for what is not there or says what is no notice is refused', async (context) => {
  const { base, tell } = await relayWith(context, {});
  const status = async (response: Promise<Response>) => (await response).status;
  assert.equal(await status(tell('log')), 200);
  assert.equal(await status(tell('log', webhook(), 'a wrong token')), 401);
  assert.equal(await status(tell('wecom')), 404);
  assert.equal(await status(tell('log', { version: '3' })), 400);
  assert.equal(await status(tell('log', { ...webhook(), more: 'x'.repeat(80_000) })), 413);
  assert.equal(await status(fetch(`${base}/v1/alerts/log`)), 405);
  assert.equal(await status(fetch(`${base}/`)), 404);
  assert.equal(await status(fetch(`${base}/live`)), 200);
});

test('without a token there is no relay', async () => {
  await assert.rejects(
    startRelay(loadSettings({ env: {}, cwd: tmpdir() }), SILENT),
    /alerts\.relay\.token is not set/,
  );
});
