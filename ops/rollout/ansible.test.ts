import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { parse } from 'yaml';
import { loadSettings } from '../../config/load.ts';
import { DATA } from '../supervisor/command.ts';
import { inventoryOf, toldIn, unreachableIn, wordsOf } from './ansible.ts';
import { reachedBy } from './fleet-nodes.ts';

test('a node that ssh does not reach is told by ssh’s own last words', () => {
  const line =
    'fatal: [vm-1]: UNREACHABLE! => {"changed": false, "msg": "Task failed: Failed to connect to the host via ssh: Warning: x\\nssh: connect to host 10.0.0.11 port 22: Connection refused", "unreachable": true}';
  assert.deepEqual(unreachableIn(line), {
    name: 'vm-1',
    sentence: 'ssh: connect to host 10.0.0.11 port 22: Connection refused',
  });
  assert.equal(unreachableIn('ok: [vm-1]'), undefined);
});

test('what a play tells of a node comes through whatever it holds', () => {
  const result = { rc: 1, stdout: 'quotes " and \n lines', stderr: 'ä' };
  const encoded = Buffer.from(JSON.stringify(result)).toString('base64');
  assert.deepEqual(toldIn(`    "msg": "TOONFLEET vm-1 ${encoded}"`), { name: 'vm-1', result });
  assert.equal(toldIn('    "msg": "All assertions passed"'), undefined);
});

const words: [string, unknown, string][] = [
  ['a command', { stderr: 'no space left\n', msg: 'non-zero return code' }, 'no space left'],
  ['a module', { stderr: '', msg: 'Destination is not writable' }, 'Destination is not writable'],
  [
    'a loop',
    { msg: 'One or more items failed', results: [{ failed: false }, { failed: true, stderr: 'x' }] },
    'x',
  ],
  ['nothing', {}, 'it did not say why'],
];
for (const [what, result, text] of words)
  test(`the words of a failure: ${what}`, () => assert.equal(wordsOf(result), text));

test('an inventory says how each node is reached, in the order given', () => {
  const host = (name: string) => ({ name, address: '10.0.0.11', port: 22, user: name, vars: { agent: 'x' } });
  assert.deepEqual(inventoryOf([host('b'), host('')], ['-o A=1', '-i key']), {
    nodes: {
      hosts: {
        b: {
          ansible_host: '10.0.0.11',
          ansible_port: 22,
          ansible_user: 'b',
          ansible_ssh_common_args: '-o A=1 -i key',
          agent: 'x',
        },
        '': {
          ansible_host: '10.0.0.11',
          ansible_port: 22,
          ansible_ssh_common_args: '-o A=1 -i key',
          agent: 'x',
        },
      },
    },
  });
});

const ways: [ssh: string | undefined, address: string, port: number, user: string][] = [
  [undefined, '10.0.0.11', 22, 'deploy'],
  ['admin@203.0.113.12:2222', '203.0.113.12', 2222, 'admin'],
  ['vm-1.example.com', 'vm-1.example.com', 22, 'deploy'],
  ['[fd00::1]:2222', 'fd00::1', 2222, 'deploy'],
];
for (const [ssh, address, port, user] of ways)
  test(`ssh ${ssh ?? 'as the agent says'} goes to ${address} port ${port} as ${user}`, () => {
    const { rollout } = loadSettings({ env: { TOONFLEET_ROLLOUT__USER: 'deploy' }, cwd: '/nowhere' });
    assert.deepEqual(reachedBy(ssh, '10.0.0.11', rollout), { address, port, user });
  });

for (const name of ['deploy.yml', 'pull.yml'])
  test(`${name} asks toonfleet about the data of the service, which under systemd no settings file names`, () => {
    const text = readFileSync(new URL(`ansible/${name}`, import.meta.url), 'utf8');
    const [play] = parse(text) as { environment?: string }[];
    assert.ok(play?.environment?.includes(`{'TOONFLEET_DATA_DIR': '${DATA}'} if supervisor == 'systemd'`));
  });
