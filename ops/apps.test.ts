import assert from 'node:assert/strict';
import test from 'node:test';
import { loadSettings } from '../config/load.ts';
import { appsOf, earlyEnv, pm2Environment, roles } from './apps.ts';

const settingsOf = (env: Record<string, string> = {}) => loadSettings({ env, cwd: '/srv/toonfleet' });
const PLACES = { root: '/opt/toonfleet/current', cwd: '/srv/toonfleet', cores: 2 };
const namesOf = (role: (typeof roles)[number]) => appsOf(settingsOf(), role, PLACES).map(({ name }) => name);

test('each role runs what it is for', () => {
  assert.deepEqual(namesOf('all'), ['balancer', 'worker', 'agent']);
  assert.deepEqual(namesOf('balancer'), ['balancer']);
  assert.deepEqual(namesOf('node'), ['worker', 'agent']);
});

test('there are as many workers as cores, or as the settings say', () => {
  const workers = (env: Record<string, string>) =>
    appsOf(settingsOf(env), 'node', PLACES).find(({ name }) => name === 'worker')?.instances;
  assert.equal(workers({}), 2);
  assert.equal(workers({ TOONFLEET_WORKER__COUNT: '7' }), 7);
});

test('PM2 kills nobody who may still be working', () => {
  const settings = settingsOf({ TOONFLEET_BALANCER__DEADLINE: '90s', TOONFLEET_WORKER__DRAIN_GRACE: '20s' });
  for (const app of appsOf(settings, 'all', PLACES)) {
    const work = { balancer: 90_000, worker: 110_000, agent: 10_000 }[app.name];
    assert.ok(app.kill_timeout > work, `${app.name}: ${app.kill_timeout}`);
    assert.ok(app.listen_timeout >= 60_000, 'or a slow load would end the old worker');
  }
});

test('what must take over without a gap is in cluster mode and says when it is ready', () => {
  for (const { name, exec_mode, wait_ready } of appsOf(settingsOf(), 'all', PLACES))
    assert.deepEqual(
      { exec_mode, wait_ready },
      name === 'agent'
        ? { exec_mode: 'fork', wait_ready: false }
        : { exec_mode: 'cluster', wait_ready: true },
    );
});

test('scripts are named by the path of the link, and relative settings start where the operator stood', () => {
  for (const { script, cwd } of appsOf(settingsOf(), 'all', PLACES)) {
    assert.match(script, /^\/opt\/toonfleet\/current\/dist\/.*main\.js$/);
    assert.equal(cwd, '/srv/toonfleet');
  }
});

test('memory goes back to the system from the size that is set, and PM2 itself is started with that', () => {
  const tunables = (env: Record<string, string>) => earlyEnv(settingsOf(env)).GLIBC_TUNABLES;
  assert.equal(tunables({ TOONFLEET_WORKER__RELEASE_FROM: '0B' }), 'glibc.malloc.hugetlb=1');
  assert.equal(tunables({}), 'glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=8388608');
  const settings = { TOONFLEET_WORKER__RELEASE_FROM: '2MiB' };
  assert.equal(tunables(settings), 'glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=2097152');
  const early = earlyEnv(settingsOf(settings));
  assert.equal(pm2Environment({}, '/data/pm2', early).GLIBC_TUNABLES, early.GLIBC_TUNABLES);
  for (const app of appsOf(settingsOf(settings), 'all', PLACES))
    assert.equal(app.env.GLIBC_TUNABLES, early.GLIBC_TUNABLES, app.name);
});

test('no secret is written into what PM2 keeps', () => {
  const settings = settingsOf({ TOONFLEET_NODE__KEY: 'a key that nobody may read' });
  for (const role of roles)
    assert.doesNotMatch(JSON.stringify(appsOf(settings, role, PLACES)), /nobody may read/);
});

test('PM2 gets our home and none of what would have it speak to its makers', () => {
  const env = pm2Environment(
    {
      PATH: '/bin',
      TOONFLEET_NODE__KEY: 'k',
      PM2_HOME: '/root/.pm2',
      SECRET_KEY: 's',
      PUBLIC_KEY: 'p',
      pm_id: '3',
      NONE: undefined,
    },
    '/data/pm2',
  );
  assert.equal(env.PM2_HOME, '/data/pm2');
  assert.equal(env.PATH, '/bin');
  assert.equal(env.TOONFLEET_NODE__KEY, 'k');
  assert.equal(env.MALLOC_ARENA_MAX, '2');
  for (const name of ['SECRET_KEY', 'PUBLIC_KEY', 'pm_id', 'NONE']) assert.equal(name in env, false, name);
});
