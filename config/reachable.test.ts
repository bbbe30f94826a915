import assert from 'node:assert/strict';
import test from 'node:test';
import { loadSettings } from './load.ts';
import { reachable } from './reachable.ts';

for (const [host, place] of [
  ['0.0.0.0', '127.0.0.1'],
  ['::', '[::1]'],
  ['2001:db8::1', '[2001:db8::1]'],
  ['10.0.0.11', '10.0.0.11'],
  ['vm-1', 'vm-1'],
] as const)
  test(`a listener on ${host} is reached at ${place}`, () => {
    assert.equal(reachable(host), place);
  });

test("this machine's own node has a URL on whichever address its agent listens", () => {
  for (const [host, url] of [
    ['::', 'http://[::1]:8001'],
    ['0.0.0.0', 'http://127.0.0.1:8001'],
  ] as const)
    assert.equal(loadSettings({ cwd: '/', env: { TOONFLEET_AGENT__HOST: host } }).nodes[0]?.agent, url);
});
