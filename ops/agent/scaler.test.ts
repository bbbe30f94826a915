import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import type { BalancerLoad, WorkerReport } from '../../config/contract.ts';
import { loadSettings, SettingsError } from '../../config/load.ts';
import { takeChangeLock } from '../process/change-lock.ts';
import { SILENT } from '../process/log.ts';
import { agentMetrics } from '../process/metrics.ts';
import { Roster, SETTLED_MS } from './roster.ts';
import { Scaler } from './scaler.ts';

const QUIET: BalancerLoad = { queue: 0, mean: 200, p95: 400, wait: 0 };

/** A node with settled workers, a PM2 that obeys, and a clock that a test turns. */
function nodeFor(context: TestContext, env: Record<string, string> = {}, workers = 1) {
  const cwd = mkdtempSync(join(tmpdir(), 'scaler-'));
  context.after(() => rmSync(cwd, { recursive: true, force: true }));
  const settings = loadSettings({
    cwd,
    env: { TOONFLEET_WORKER__SCALE__ENABLED: 'true', TOONFLEET_WORKER__COUNT: '1', ...env },
  });
  const roster = new Roster(0, 3_000);
  const metrics = agentMetrics();
  const state = {
    now: Date.parse('2026-11-21T12:00:00Z'),
    shares: { values: [0.5], unmeasured: 0 },
    load: QUIET as BalancerLoad | undefined,
    pids: undefined as number[] | undefined,
    scaled: [] as number[],
    fails: false,
  };
  const pidsOf = () => roster.reports().map(({ pid }) => pid);
  const announce = (pid: number, more: Partial<WorkerReport> = {}) =>
    roster.announce(
      {
        id: `w${pid}`,
        pid,
        url: `http://127.0.0.1:${8100 + pid}`,
        slots: 1,
        state: 'ready',
        models: [],
        busy: 0,
        ms_per_megapixel: null,
        rss_bytes: 1,
        event_loop_lag_ms: 0,
        ...more,
      },
      state.now,
    );
  const create = () =>
    new Scaler({
      settings: settings.worker,
      dataDir: settings.data_dir,
      home: join(settings.data_dir, 'pm2'),
      cores: 4,
      roster,
      cpu: { shares: () => state.shares },
      loads: { sum: () => state.load },
      pm2: {
        pids: async () => state.pids ?? pidsOf(),
        async scale(count) {
          if (state.fails) throw new Error('PM2 says no');
          state.scaled.push(count);
          while (pidsOf().length > count) roster.leave(`w${Math.min(...pidsOf())}`);
          while (pidsOf().length < count) announce(Math.max(0, ...pidsOf()) + 1);
          state.now += SETTLED_MS;
        },
      },
      metrics,
      log: SILENT,
      now: () => state.now,
    });
  for (let pid = 1; pid <= workers; pid++) announce(pid);
  state.now += SETTLED_MS;
  return { state, roster, announce, create, home: join(settings.data_dir, 'pm2'), metrics };
}

test('a busy VM gets another worker at once, and keeps it for five quiet minutes', async (context) => {
  const { state, create, metrics } = nodeFor(context);
  const scaler = create();
  state.shares = { values: [0.98], unmeasured: 0 };
  await scaler.judge();
  assert.deepEqual(state.scaled, [2]);
  assert.match(scaler.status().reason, /^cpu: 1 × 98 % \/ 70 % = 1\.40 → 2$/);
  const text = await metrics.registry.metrics();
  assert.match(text, /^toonfleet_scale_workers\{kind="desired"\} 2$/m);
  assert.match(text, /^toonfleet_scale_workers\{kind="max"\} 4$/m);
  assert.match(text, /^toonfleet_scale_reason\{reason="cpu"\} 1$/m);
  assert.match(text, /^toonfleet_scale_changes_total\{direction="up",result="done"\} 1$/m);

  state.shares = { values: [0, 0], unmeasured: 0 };
  for (let quiet = 0; quiet < 280_000; quiet += 15_000) {
    state.now += 15_000;
    await scaler.judge();
  }
  assert.deepEqual(state.scaled, [2]);
  state.now += 15_000;
  await scaler.judge();
  state.now += 15_000;
  await scaler.judge();
  assert.deepEqual(state.scaled, [2, 1]);
});

test('without the balancers that tell the queue, workers come but do not leave', async (context) => {
  const env = { TOONFLEET_WORKER__SCALE__DOWN_AFTER: '0s' };
  const { state, create } = nodeFor(context, env, 2);
  const scaler = create();
  state.load = undefined;
  state.shares = { values: [0, 0], unmeasured: 0 };
  await scaler.judge();
  assert.deepEqual(state.scaled, []);
  assert.match(scaler.status().reason, /but not fewer; queue length, mean response: unknown$/);
  state.load = { ...QUIET, mean: 90_000 };
  await scaler.judge();
  assert.deepEqual(state.scaled, [4], 'mean response 3 × 30 s, and the bound');
});

test('low peak overrides the bounds by the clock of its zone, and its end gives them back', async (context) => {
  const { state, create } = nodeFor(
    context,
    {
      TOONFLEET_WORKER__SCALE__TIME_ZONE: 'Asia/Shanghai',
      TOONFLEET_WORKER__SCALE__LOW_PEAK: '[{"from":"0 1 * * *","to":"0 6 * * *","min":1,"max":1}]',
      TOONFLEET_WORKER__SCALE__MIN: '2',
    },
    2,
  );
  const scaler = create();
  state.shares = { values: [0.9, 0.9], unmeasured: 0 };
  state.now = Date.parse('2026-11-21T16:59:00Z');
  await scaler.judge();
  assert.deepEqual(state.scaled, [3], '00:59 in Shanghai');
  state.now = Date.parse('2026-11-21T17:00:00Z');
  await scaler.judge();
  assert.deepEqual(state.scaled, [3, 1], '01:00');
  assert.equal(scaler.status().low_peak, true);
  assert.match(scaler.status().reason, /^low peak; .*; 1 by the bounds 1 to 1$/);
  state.shares = { values: [0], unmeasured: 0 };
  state.now = Date.parse('2026-11-21T22:00:00Z');
  await scaler.judge();
  assert.deepEqual(state.scaled, [3, 1, 2], '06:00: min is 2 again');
});

test('a change waits for a reload, for workers that come or go, and for the end of a drain', async (context) => {
  const { state, create, home, announce, roster } = nodeFor(context);
  const scaler = create();
  state.shares = { values: [1], unmeasured: 0 };
  const reload = takeChangeLock(home, 'a reload of worker');
  assert.equal(scaler.idle, false, 'nobody may rest meanwhile');
  await scaler.judge();
  assert.match(scaler.status().reason, /; waits: a reload of worker is under way/);
  if (reload.kind === 'taken') reload.release();
  assert.equal(scaler.idle, true);

  announce(9, { state: 'loading' });
  await scaler.judge();
  assert.equal(scaler.status().reason, 'workers are coming or going');
  roster.leave('w9');
  roster.drain(true);
  state.now += SETTLED_MS;
  await scaler.judge();
  assert.match(scaler.status().reason, /the node is drained/);
  assert.deepEqual(state.scaled, []);
  roster.drain(false);
  roster.resting(state.now);
  await scaler.judge();
  assert.deepEqual(state.scaled, [], 'a tired worker was just let go');
  state.now += SETTLED_MS;
  await scaler.judge();
  assert.deepEqual(state.scaled, [2]);
});

test('PM2 is not asked to take one away while it runs a worker that does not draw', async (context) => {
  const { state, create, metrics } = nodeFor(context, { TOONFLEET_WORKER__SCALE__DOWN_AFTER: '0s' }, 2);
  const scaler = create();
  state.shares = { values: [0, 0], unmeasured: 0 };
  for (const pids of [
    [1, 2, 0],
    [1, 2, 3],
    [1, 7],
  ]) {
    state.pids = pids;
    await scaler.judge();
  }
  assert.deepEqual(state.scaled, []);
  assert.match(scaler.status().reason, /PM2 runs 2 workers, and 2 are ready$/);
  assert.match(await metrics.registry.metrics(), /changes_total\{direction="down",result="failed"\} 3$/m);
  state.pids = [1];
  await scaler.judge();
  assert.deepEqual(state.scaled, [], 'what PM2 runs already needs no command');
  state.pids = undefined;
  state.fails = true;
  await scaler.judge();
  assert.match(scaler.status().reason, /PM2 says no$/);
  state.fails = false;
  await scaler.judge();
  assert.deepEqual(state.scaled, [1], 'and it is tried again');
});

test('a node that was drained for long works again with as many workers as before', async (context) => {
  const { state, roster, create } = nodeFor(context, {}, 3);
  const scaler = create();
  state.shares = { values: [0.7, 0.7, 0.7], unmeasured: 0 };
  await scaler.judge();
  roster.drain(true);
  state.shares = { values: [0, 0, 0], unmeasured: 0 };
  for (let idle = 0; idle < 600_000; idle += 15_000) {
    state.now += 15_000;
    await scaler.judge();
  }
  assert.match(scaler.status().reason, /the node is drained/);
  assert.equal(scaler.fullHouse, 3);
  roster.drain(false);
  state.now += 15_000;
  await scaler.judge();
  assert.deepEqual(state.scaled, [], 'its five minutes begin with its work');
});

test("an operator's number stands against the signals, over a restart, until it is taken back", async (context) => {
  const { state, create } = nodeFor(context);
  state.shares = { values: [0.7], unmeasured: 0 };
  const scaler = create();
  assert.throws(() => scaler.want(5), /5 workers are more than this node may have \(worker\.scale\.max: 4\)/);
  scaler.want(3);
  await scaler.judge();
  assert.deepEqual(state.scaled, [3]);
  const next = create();
  assert.deepEqual([next.status().mode, next.fullHouse], ['fixed', 3]);
  await next.judge();
  assert.deepEqual(state.scaled, [3]);
  next.want('auto');
  assert.equal(next.status().mode, 'auto');
  assert.equal(create().status().mode, 'auto');
});

test('where scaling is off, PM2 is left alone but for an operator, and auto is the count of the settings', async (context) => {
  const { state, create } = nodeFor(context, { TOONFLEET_WORKER__SCALE__ENABLED: 'false' }, 2);
  const scaler = create();
  state.shares = { values: [1, 1], unmeasured: 0 };
  await scaler.judge();
  assert.deepEqual(state.scaled, []);
  assert.equal(scaler.status().mode, 'off');
  scaler.want(3);
  await scaler.judge();
  scaler.want('auto');
  await scaler.judge();
  await scaler.judge();
  assert.deepEqual(state.scaled, [3, 1]);
});

test('a wrong time zone, expression or bound stops the start with a sentence', () => {
  const faultsOf = (env: Record<string, string>) => {
    try {
      loadSettings({ env, cwd: tmpdir() });
      return '';
    } catch (error) {
      assert.ok(error instanceof SettingsError);
      return error.message;
    }
  };
  assert.match(
    faultsOf({ TOONFLEET_WORKER__SCALE__TIME_ZONE: 'Mars/Base' }),
    /worker\.scale\.time_zone: found "Mars\/Base"; allowed: a time zone of the IANA database; example: .*Shanghai/,
  );
  const low = (row: string) => faultsOf({ TOONFLEET_WORKER__SCALE__LOW_PEAK: `[${row}]` });
  assert.match(low('{"from":"0 25 * * *","to":"0 6 * * *"}'), /low_peak\.0\.from: found "0 25 \* \* \*"/);
  assert.match(low('{"from":"0 1 * * *","to":"0 1 * * *"}'), /low_peak\.0: found/);
  assert.match(low('{"from":"0 1 * * *","to":"0 6 * * *","min":3,"max":2}'), /low_peak\.0: found/);
  assert.match(
    faultsOf({ TOONFLEET_WORKER__SCALE__MIN: '3', TOONFLEET_WORKER__SCALE__MAX: '2' }),
    /worker\.scale\.max: found 2; allowed: not below worker\.scale\.min \(3\)/,
  );
});
