import assert from 'node:assert/strict';
import test from 'node:test';
import { entryOf, isWanted, timeOf } from './log-query.ts';

const line = (fields: object) =>
  JSON.stringify({ level: 'info', time: '2026-11-21T17:00:00.123Z', role: 'worker', pid: 1, ...fields });

const cases: { name: string; text: string; wish: Parameters<typeof isWanted>[1]; wanted: boolean }[] = [
  {
    name: 'a line of the level asked for',
    text: line({ level: 'warn' }),
    wish: { level: 'warn' },
    wanted: true,
  },
  { name: 'a worse one', text: line({ level: 'error' }), wish: { level: 'warn' }, wanted: true },
  { name: 'a lesser one', text: line({}), wish: { level: 'warn' }, wanted: false },
  { name: 'a crash of Node', text: '    at Object.<anonymous>', wish: { level: 'error' }, wanted: true },
  { name: 'nothing', text: '  ', wish: { level: 'debug' }, wanted: false },
  { name: "PM2's word on a rotation", text: 'Reloading log...', wish: { level: 'debug' }, wanted: false },
  {
    name: 'its request',
    text: line({ request_id: 'a-1' }),
    wish: { level: 'error', request: 'a-1' },
    wanted: true,
  },
  {
    name: 'another request',
    text: line({ request_id: 'a-12' }),
    wish: { level: 'debug', request: 'a-1' },
    wanted: false,
  },
  {
    name: 'a line that only speaks of the request',
    text: line({ path: '/a-1', request_id: 'b' }),
    wish: { level: 'debug', request: 'a-1' },
    wanted: false,
  },
  {
    name: "a client's word for a level, which comes behind ours",
    text: line({ path: '/"level":"error"' }),
    wish: { level: 'warn' },
    wanted: false,
  },
];
for (const { name, text, wish, wanted } of cases)
  test(`${name} is ${wanted ? '' : 'not '}given for ${JSON.stringify(wish)}`, () =>
    assert.equal(isWanted(text, wish), wanted));

test('the time of a line is its own, and what is no event has none', () => {
  assert.equal(timeOf(line({})), Date.UTC(2026, 10, 21, 17, 0, 0, 123));
  assert.equal(timeOf('x {"time":"2026-11-21T17:00:00.123Z"}'), undefined);
  assert.equal(timeOf('{}'), undefined);
});

test('a line without end is cut', () => {
  assert.ok(entryOf('worker', 1, 'x'.repeat(1_000_000)).text.length < 40_000);
});
