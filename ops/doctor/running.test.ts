import assert from 'node:assert/strict';
import test from 'node:test';
import { loadSettings } from '../../config/load.ts';
import { appsOf } from '../apps.ts';
import type { Verdict } from './finding.ts';
import { judgeApps, judgePort, judgeUnits, type Pm2Process, type PortState } from './running.ts';

const settings = loadSettings({ env: { TOONFLEET_WORKER__COUNT: '2' }, cwd: '/nowhere' });
const apps = appsOf(settings, 'all', { root: '/r', cwd: '/c', cores: 2 });

/** What PM2 tells when all is as the settings ask for. */
const right = (): Pm2Process[] =>
  apps.flatMap((app) =>
    Array.from({ length: app.instances }, () => ({
      name: app.name,
      pid: 1,
      status: 'online',
      exec_mode: app.exec_mode === 'cluster' ? 'cluster_mode' : 'fork_mode',
      kill_timeout: app.kill_timeout,
      listen_timeout: app.listen_timeout,
      wait_ready: app.wait_ready,
      merge_logs: true,
      max_memory_restart: undefined,
      restarts: 0,
      upMs: 3_600_000,
    })),
  );
const with_ = (name: string, change: Partial<Pm2Process>) =>
  right().map((each) => (each.name === name ? { ...each, ...change } : each));

const cases: { name: string; processes: Pm2Process[]; verdict: Verdict; says?: RegExp; count?: number }[] = [
  { name: 'all as it should be', processes: right(), verdict: 'ok', count: 3 },
  {
    name: 'no agent',
    processes: right().filter(({ name }) => name !== 'agent'),
    verdict: 'bad',
    says: /does not run the agent/,
  },
  {
    name: 'a worker that is gone',
    processes: right().filter((_, index) => index !== 1),
    verdict: 'warn',
    says: /1 workers run, the settings ask for 2/,
  },
  {
    name: 'a worker that PM2 gave up',
    processes: with_('worker', { status: 'errored' }),
    verdict: 'bad',
    says: /2 of 2 worker/,
  },
  {
    name: 'workers that are starting, as in a reload',
    processes: with_('worker', { status: 'launching' }),
    verdict: 'warn',
    says: /2 of 2 worker processes are just starting or ending/,
  },
  {
    name: 'a balancer that drains',
    processes: with_('balancer', { status: 'stopping' }),
    verdict: 'warn',
    says: /1 of 1 balancer processes are just starting or ending/,
  },
  {
    name: 'a kill_timeout below the drain',
    processes: with_('balancer', { kill_timeout: 1600 }),
    verdict: 'bad',
    says: /1600 ms, its drain may take/,
  },
  {
    name: 'no kill_timeout at all',
    processes: with_('worker', { kill_timeout: undefined }),
    verdict: 'bad',
    says: /1600 ms/,
  },
  {
    name: 'a short listen_timeout',
    processes: with_('worker', { listen_timeout: 3000 }),
    verdict: 'bad',
    says: /listen_timeout/,
  },
  {
    name: 'fork instead of cluster',
    processes: with_('balancer', { exec_mode: 'fork_mode' }),
    verdict: 'bad',
    says: /fork_mode/,
  },
  {
    name: 'a PM2 that does not wait',
    processes: with_('worker', { wait_ready: false }),
    verdict: 'bad',
    says: /does not wait/,
  },
  {
    name: 'logs of their own',
    processes: with_('worker', { merge_logs: false }),
    verdict: 'warn',
    says: /merged/,
  },
  {
    name: "PM2's own memory limit",
    processes: with_('worker', { max_memory_restart: 1 }),
    verdict: 'warn',
    says: /max_memory_restart/,
  },
  {
    name: 'a loop of restarts',
    processes: with_('worker', { restarts: 9, upMs: 2_000 }),
    verdict: 'warn',
    says: /restarted 9 times/,
  },
  { name: 'restarts of long ago', processes: with_('worker', { restarts: 9 }), verdict: 'ok' },
  { name: 'a patient PM2', processes: with_('worker', { kill_timeout: 600_000 }), verdict: 'ok' },
];
for (const { name, processes, verdict, says, count } of cases)
  test(`PM2 with ${name}: ${verdict}`, () => {
    const findings = judgeApps(processes, apps, { cores: 2, scaled: false });
    const wrong = findings.filter((finding) => finding.verdict !== 'ok');
    assert.deepEqual(
      wrong.map((finding) => finding.verdict),
      verdict === 'ok' ? [] : [verdict],
    );
    if (says) assert.match(wrong[0]?.found ?? '', says);
    if (count !== undefined) assert.equal(findings.length, count);
  });

test('more workers than cores are told', () => {
  assert.match(
    judgeApps(right(), apps, { cores: 1, scaled: false }).find(({ verdict }) => verdict === 'warn')?.found ??
      '',
    /2 workers share 1 cores/,
  );
});

test('where the agent scales the workers, fewer are no fault', () => {
  const fewer = right().filter((_, index) => index !== 1);
  const judge = (scaled: boolean) =>
    judgeApps(fewer, apps, { cores: 2, scaled }).some(({ verdict }) => verdict !== 'ok');
  assert.deepEqual([judge(true), judge(false)], [false, true]);
});

const port = (fields: Partial<PortState>): PortState => ({
  setting: 'balancer.port',
  port: 8080,
  fault: undefined,
  holder: undefined,
  ours: false,
  ...fields,
});
for (const { name, state, running, verdict, says } of [
  { name: 'free before a start', state: port({}), running: false, verdict: 'ok', says: /is free/ },
  {
    name: 'free although its process runs',
    state: port({}),
    running: true,
    verdict: 'bad',
    says: /nobody listens/,
  },
  {
    name: 'ours',
    state: port({ fault: 'Port 8080 is taken.', ours: true }),
    running: true,
    verdict: 'ok',
    says: /ours/,
  },
  {
    name: 'taken by another program',
    state: port({ fault: 'Port 8080 is taken.', holder: 'nginx (process 7)' }),
    running: false,
    verdict: 'bad',
    says: /taken\. It is nginx \(process 7\)\./,
  },
] as const)
  test(`a port that is ${name}: ${verdict}`, () => {
    const finding = judgePort(state, running);
    assert.equal(finding.verdict, verdict);
    assert.match(finding.found, says);
  });

test('a unit has to give as long to stop as the drains may take', () => {
  const judge = (systemd: boolean, units: Record<string, string>) =>
    judgeUnits({ systemd, units }, apps).map(({ verdict }) => verdict);
  assert.deepEqual(judge(true, {}), ['warn']);
  assert.deepEqual(judge(false, {}), ['ok']);
  assert.deepEqual(judge(true, { 'toonfleet.service': '[Service]\nTimeoutStopSec=300\n' }), ['ok']);
  assert.deepEqual(judge(true, { 'toonfleet.service': '[Service]\nTimeoutStopSec=30\n' }), ['bad']);
  // systemd's own 90 s.
  assert.deepEqual(judge(true, { 'toonfleet.service': '[Service]\n' }), ['bad']);
});
