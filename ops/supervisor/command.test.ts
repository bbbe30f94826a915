import assert from 'node:assert/strict';
import test from 'node:test';
import { unitConfig } from './command.ts';

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
