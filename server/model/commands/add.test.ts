import assert from 'node:assert/strict';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { testSettings } from '../../test-worker.ts';
import { modelsCommand } from './command.ts';

const SOME_FILE = fileURLToPath(import.meta.url);
const LICENCE = ['--licence', 'MIT', '--accept-licence'];

const wrong: [preset: string, more: string[], allowed: RegExp][] = [
  ['retinaface-mobilenet', ['--style', 'mine'], /allowed: dct-net-head, dct-net-background$/m],
  ['dct-net', ['--style', 'mine'], /allowed: dct-net-head, dct-net-background$/m],
  ['dct-net-head', ['--detector'], /allowed: retinaface-mobilenet$/m],
  ['nobody', [], /allowed: dct-net-head, dct-net-background$/m],
];
for (const [preset, more, allowed] of wrong) {
  test(`add refuses the preset ${preset} ${more.join(' ')} before it looks into the file`, async (t) => {
    const said: string[] = [];
    t.mock.method(console, 'error', (line: string) => said.push(line));
    const args = ['add', SOME_FILE, '--name', 'one', ...LICENCE, '--preset', preset, ...more];
    assert.equal(await modelsCommand(args, testSettings('/nowhere')), 2);
    assert.match(said.join('\n'), allowed);
  });
}
