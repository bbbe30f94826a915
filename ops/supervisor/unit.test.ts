import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { loadSettings } from '../../config/load.ts';
import { appsOf, type Role, roles } from '../apps.ts';
import {
  autoscaleUnitOf,
  backupUnitOf,
  relayUnitOf,
  type TimedRole,
  timerOf,
  unitNameOf,
  unitOf,
} from './unit.ts';

const template = readFileSync(new URL('../../systemd/toonfleet.service', import.meta.url), 'utf8');
const places = {
  root: '/opt/toonfleet/current',
  node: '/usr/bin/node',
  user: 'toonfleet',
  config: '/etc/toonfleet/toonfleet.yaml',
  dataDir: '/var/lib/toonfleet',
  logrotate: true,
  cores: 2,
};

function unit(role: Role, env: Record<string, string> = {}, other: Partial<typeof places> = {}) {
  const settings = loadSettings({ env: { TOONFLEET_WORKER__COUNT: '2', ...env }, cwd: '/nowhere' });
  const apps = appsOf(settings, role, { root: places.root, cwd: places.dataDir, cores: 2 });
  const text = unitOf(template, role, settings, apps, { ...places, ...other });
  const value = (key: string) =>
    text
      .split('\n')
      .filter((line) => line.startsWith(`${key}=`))
      .map((line) => line.slice(key.length + 1));
  return { text, value, apps };
}

for (const role of roles) {
  test(`the unit of role ${role} starts and reloads that role, and leaves nothing of the template open`, () => {
    const { text, value } = unit(role);
    assert.deepEqual(value('ExecStart'), [
      `/usr/bin/node /opt/toonfleet/current/ops/toonfleet.mjs start --role ${role} --verbose`,
    ]);
    const reloaded = { all: 'all', balancer: 'balancer', node: 'worker' }[role];
    assert.ok(value('ExecReload')[0]?.endsWith(`reload ${reloaded}`));
    assert.doesNotMatch(text, /[{}]/);
    assert.match(unitNameOf(role), /^toonfleet(-balancer|-node)?\.service$/);
  });

  test(`role ${role} may take as long to stop as its processes may, one behind the other`, () => {
    const { value, apps } = unit(role, { TOONFLEET_BALANCER__DEADLINE: '5m' });
    const needed = apps.reduce((sum, app) => sum + app.kill_timeout, 0) / 1000;
    assert.ok(Number(value('TimeoutStopSec')[0]) > needed);
    assert.ok(needed > 300);
  });
}

test('secrets in files are handed over by systemd', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'toonfleet-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, 'node.key');
  writeFileSync(file, 'a key of more than sixteen characters', { mode: 0o600 });
  const { value } = unit('node', { TOONFLEET_NODE__KEY_FILE: file });
  assert.deepEqual(value('LoadCredential'), [`node-key:${file}`]);
  assert.ok(value('Environment').includes('TOONFLEET_NODE__KEY_FILE=%d/node-key'));
  assert.deepEqual(unit('node').value('LoadCredential'), []);
});

test('where logrotate turns the logs the agent is told to leave them alone, and elsewhere it is not', () => {
  const told = 'TOONFLEET_LOGS__TURN_AT=0B';
  assert.ok(unit('node').value('Environment').includes(told));
  assert.ok(!unit('node', {}, { logrotate: false }).value('Environment').includes(told));
});

test('a port below 1024 brings the one right that it needs, and only where there is a front', () => {
  const low = { TOONFLEET_BALANCER__PORT: '443' };
  assert.deepEqual(unit('all', low).value('AmbientCapabilities'), ['CAP_NET_BIND_SERVICE']);
  assert.deepEqual(unit('node', low).value('AmbientCapabilities'), ['']);
  assert.deepEqual(unit('all').value('CapabilityBoundingSet'), ['']);
  const tls = { TOONFLEET_BALANCER__TLS__CERT_FILE: '/c.pem', TOONFLEET_BALANCER__TLS__KEY_FILE: '/k.pem' };
  const https = { ...tls, TOONFLEET_BALANCER__TLS__PORT: '443' };
  assert.deepEqual(unit('balancer', https).value('AmbientCapabilities'), ['CAP_NET_BIND_SERVICE']);
  assert.deepEqual(unit('balancer', tls).value('AmbientCapabilities'), ['']);
});

test('a release below /home can be seen, and not written', () => {
  assert.deepEqual(unit('all').value('ProtectHome'), ['yes']);
  assert.deepEqual(unit('all', {}, { root: '/home/ops/toonfleet' }).value('ProtectHome'), ['read-only']);
});

test('a template that asks for something unknown is told, not shipped', () => {
  const settings = loadSettings({ env: {}, cwd: '/nowhere' });
  assert.throws(
    () => unitOf('Nice={{nice}}', 'all', settings, [], places),
    /\{\{nice\}\}, which has no value/,
  );
});

test('the relay has the secrets that are its own, and none of the fleet', () => {
  const text = relayUnitOf(
    readFileSync(new URL('../../systemd/toonfleet-alert-relay.service', import.meta.url), 'utf8'),
    loadSettings({
      env: {
        TOONFLEET_ALERTS__RELAY__TOKEN_FILE: '/etc/toonfleet/relay.token',
        TOONFLEET_ALERTS__RELAY__WECOM_KEY_FILE: '/etc/toonfleet/wecom.key',
      },
      cwd: '/nowhere',
    }),
    { ...places, logrotate: false },
  );
  assert.doesNotMatch(text, /[{}]/);
  assert.match(text, /^LoadCredential=relay-token:\/etc\/toonfleet\/relay\.token$/m);
  assert.match(text, /^Environment=TOONFLEET_ALERTS__RELAY__WECOM_KEY_FILE=%d\/wecom-key$/m);
  assert.match(text, /^Environment=TOONFLEET_NODE__KEY_FILE=$/m);
  assert.doesNotMatch(text, /sms-secret|node-key/);
});

test('backups run under their timers, with the password of the place elsewhere and no other secret', () => {
  const read = (name: string) => readFileSync(new URL(`../../systemd/${name}`, import.meta.url), 'utf8');
  const settings = loadSettings({
    env: {
      TOONFLEET_BACKUP__DIR: '/mnt/backup',
      TOONFLEET_BACKUP__CALENDAR: 'Mon 04:00',
      TOONFLEET_BACKUP__PASSWORD_FILE: '/etc/toonfleet/backup.password',
      TOONFLEET_BACKUP__PASSWORD: 'read from that file',
    },
    cwd: '/nowhere',
  });
  const unitFor = (role: TimedRole) =>
    backupUnitOf(read('toonfleet-backup.service'), role, settings, { ...places, logrotate: false });
  const text = unitFor('backup');
  assert.doesNotMatch(text, /[{}]/);
  assert.match(text, /^ExecStart=.*\/ops\/toonfleet\.mjs backup create$/m);
  assert.match(unitFor('backup-verify'), /^ExecStart=.* backup verify --all$/m);
  assert.match(text, /^ReadWritePaths=\/var\/lib\/toonfleet -\/mnt\/backup$/m);
  assert.match(text, /^LoadCredential=backup-password:\/etc\/toonfleet\/backup\.password$/m);
  assert.match(text, /^Environment=TOONFLEET_NODE__KEY_FILE=$/m);
  assert.doesNotMatch(text, /^Environment=TOONFLEET_BACKUP__PASSWORD_FILE=$/m);
  const timer = timerOf(read('toonfleet-backup.timer'), 'backup', settings);
  assert.match(timer, /^OnCalendar=Mon 04:00$/m);
  assert.match(timer, /^Persistent=true$/m);
});

test('the memory is for the workers that scaling may start', () => {
  const memory = (env: Record<string, string>) =>
    Number(unit('node', env).value('MemoryMax')[0]?.replace('M', ''));
  assert.equal(memory({ TOONFLEET_WORKER__COUNT: '1' }), memory({}), 'auto: a worker a core');
  assert.equal(memory({ TOONFLEET_WORKER__SCALE__MAX: '6' }) - memory({}), 4000);
});

test('the unit of autoscale lets a move end, and has the admin token but not the node key', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'toonfleet-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, 'token');
  writeFileSync(file, 'a token of more than sixteen characters', { mode: 0o600 });
  const settings = loadSettings({
    env: { TOONFLEET_BALANCER__ADMIN_TOKEN_FILE: file, TOONFLEET_AUTOSCALE__HOOK_TIMEOUT: '10m' },
    cwd: '/nowhere',
  });
  const own = readFileSync(new URL('../../systemd/toonfleet-autoscale.service', import.meta.url), 'utf8');
  const text = autoscaleUnitOf(own, settings, places);
  assert.match(text, /^ExecStart=.*toonfleet\.mjs autoscale$/m);
  assert.match(text, /^TimeoutStopSec=740$/m);
  assert.match(text, new RegExp(`^LoadCredential=admin-token:${file}$`, 'm'));
  assert.match(text, /^Environment=TOONFLEET_NODE__KEY_FILE=$/m);
  assert.match(text, /^ReadWritePaths=\/var\/lib\/toonfleet$/m);
  assert.doesNotMatch(text, /[{}]/);
});
