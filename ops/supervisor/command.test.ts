import assert from 'node:assert/strict';
import test from 'node:test';
import { loadSettings } from '../../config/load.ts';
import { logrotateTurns, renderUnit, unitConfig } from './command.ts';

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
