import assert from 'node:assert/strict';
import test from 'node:test';
import { prettyEntry } from './pretty.ts';

const at = Date.UTC(2026, 10, 21, 17, 0, 0, 123);
const event = (fields: object) =>
  JSON.stringify({ level: 'info', time: 'x', role: 'balancer', pid: 7, message: 'request', ...fields });

const cases: { name: string; text: string; at?: number; shown: string }[] = [
  {
    name: 'a request with its facts',
    text: event({
      request_id: 'a-1',
      status: 200,
      ms: { queue: 3.1, total: 812 },
      attempts: [{ node: 'vm-2', ms: 800 }],
    }),
    shown:
      '2026-11-21 17:00:00.123  vm-1  balancer  INFO   request  request_id=a-1  status=200  ms={queue:3.1 total:812}  attempts=[{node:vm-2 ms:800}]',
  },
  {
    name: 'words with blanks in quotes',
    text: event({ path: '/a b' }),
    shown: '2026-11-21 17:00:00.123  vm-1  balancer  INFO   request  path="/a b"',
  },
  {
    name: 'an error with its stack below',
    text: event({ level: 'error', message: 'died', error: { message: 'x', stack: 'Error: x\n    at y' } }),
    shown: '2026-11-21 17:00:00.123  vm-1  balancer  ERROR  died\n    Error: x\n        at y',
  },
  {
    name: 'a line that is no event',
    text: 'Error: x',
    shown: '2026-11-21 17:00:00.123  vm-1  worker  |  Error: x',
  },
  {
    name: 'a line of unknown time',
    text: 'Error',
    at: 0,
    shown: '-                        vm-1  worker  |  Error',
  },
];
for (const { name, text, shown, at: when } of cases)
  test(`a terminal shows ${name}`, () =>
    assert.equal(prettyEntry('vm-1', { at: when ?? at, app: 'worker', text }), shown));

test("a client's control characters do not reach the terminal", () => {
  const wipe = '\u001b[2J';
  for (const text of [event({ path: wipe }), event({ message: wipe }), `x${wipe}`, event({ [wipe]: 1 })])
    assert.ok(!prettyEntry('vm-1', { at, app: 'worker', text }).includes('\u001b'), text);
});
