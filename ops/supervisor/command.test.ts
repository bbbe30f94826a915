import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { loadSettings } from '../../config/load.ts';
import { logrotateTurns, outOfReach, renderUnit, unitConfig } from './command.ts';

const MACHINES = '/etc/toonfleet/toonfleet.yaml';

const cases: readonly [what: string, said: string | undefined, there: boolean, file: string | undefined][] = [
  ["the machine's own settings, wherever the command is run", undefined, true, MACHINES],
  ['the file that was named', '/srv/toonfleet.yaml', true, '/srv/toonfleet.yaml'],
  ['what the environment or the folder says, before there is such a file', undefined, false, undefined],
];
for (const [what, said, there, file] of cases)
  test(`a unit is made from ${what}`, () => {
    assert.equal(
      unitConfig(said, (path) => there && path === MACHINES),
      file,
    );
  });

test('logrotate turns our logs only where it was told of them', () => {
  const onMachineWith =
    (...files: string[]) =>
    (path: string) =>
      files.includes(path);
  const own = '/etc/logrotate.d/toonfleet';
  assert.equal(logrotateTurns(onMachineWith('/usr/sbin/logrotate', own)), true);
  assert.equal(logrotateTurns(onMachineWith('/usr/sbin/logrotate')), false, 'as most machines are');
  assert.equal(logrotateTurns(onMachineWith(own)), false, 'the program is gone');
});

test('a unit that a rollout renders leaves the logs to the agent unless logrotate has them', () => {
  const settings = loadSettings({ env: {}, cwd: '/nowhere' });
  const options = {
    role: 'node',
    root: undefined,
    user: undefined,
    config: undefined,
    dataDir: undefined,
    dryRun: false,
  } as const;
  const left = /^Environment=TOONFLEET_LOGS__TURN_AT=0B$/m;
  assert.match(renderUnit(settings, options, true), left);
  assert.doesNotMatch(renderUnit(settings, options, false), left);
});

const skip =
  (process.getuid?.() !== 0 || !existsSync('/usr/sbin/runuser')) && 'only root can ask as another user';
test('a release, or a Node, in a closed home is told before anything is installed', { skip }, (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'toonfleet-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const root = join(folder, 'home/toonfleet');
  mkdirSync(root, { recursive: true });
  writeFileSync(join(root, 'package.json'), '{}', { mode: 0o644 });
  writeFileSync(join(root, 'node'), '', { mode: 0o755 });
  const at = (mode: number, node: string) => {
    chmodSync(folder, 0o755);
    chmodSync(join(folder, 'home'), mode);
    return outOfReach('nobody', root, node);
  };
  assert.equal(at(0o755, '/bin/sh'), undefined);
  assert.match(at(0o700, '/bin/sh') ?? '', /^The user nobody cannot read .*home\/toonfleet: /);
  chmodSync(join(root, 'node'), 0o700);
  assert.match(at(0o755, join(root, 'node')) ?? '', /^The user nobody cannot run .*node: /);
});
