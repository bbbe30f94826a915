import assert from 'node:assert/strict';
import test from 'node:test';
import { isCron, isTimeZone, isWithin } from './cron-window.ts';

const night = { from: '0 1 * * *', to: '0 6 * * *' };
const at = (iso: string) => Date.parse(iso);

test('a night from one to six, in its own time zone', () => {
  const cases: [string, string, boolean][] = [
    ['2026-11-21T00:59:59Z', 'UTC', false],
    ['2026-11-21T01:00:00Z', 'UTC', true],
    ['2026-11-21T05:59:59Z', 'UTC', true],
    ['2026-11-21T06:00:00Z', 'UTC', false],
    ['2026-11-20T17:00:00Z', 'Asia/Shanghai', true],
    ['2026-11-20T16:59:00Z', 'Asia/Shanghai', false],
    ['2026-11-20T22:00:00Z', 'Asia/Shanghai', false],
  ];
  for (const [when, zone, within] of cases)
    assert.equal(isWithin(night, at(when), zone), within, `${when} ${zone}`);
});

test('a window over midnight, over a weekend, and over the turn of a year', () => {
  const late = { from: '30 22 * * *', to: '15 5 * * *' };
  assert.equal(isWithin(late, at('2026-11-21T23:00:00Z'), 'UTC'), true);
  assert.equal(isWithin(late, at('2026-11-22T05:14:00Z'), 'UTC'), true);
  assert.equal(isWithin(late, at('2026-11-22T05:15:00Z'), 'UTC'), false);
  const weekend = { from: '0 20 * * 5', to: '0 7 * * mon' };
  assert.equal(isWithin(weekend, at('2026-11-20T20:00:00Z'), 'UTC'), true, 'Friday evening');
  assert.equal(isWithin(weekend, at('2026-11-22T12:00:00Z'), 'UTC'), true, 'Sunday');
  assert.equal(isWithin(weekend, at('2026-11-23T07:00:00Z'), 'UTC'), false, 'Monday');
  const holidays = { from: '0 0 24 12 *', to: '0 0 2 1 *' };
  assert.equal(isWithin(holidays, at('2027-01-01T12:00:00Z'), 'UTC'), true);
  assert.equal(isWithin(holidays, at('2026-12-23T23:59:00Z'), 'UTC'), false);
});

test('a night begins although the change to summer time skips its first hour', () => {
  // In Berlin 02:00 to 03:00 of 29 March 2026 does not exist.
  const skipped = { from: '30 2 * * *', to: '0 6 * * *' };
  assert.equal(isWithin(skipped, at('2026-03-29T00:59:00Z'), 'Europe/Berlin'), false, '01:59');
  assert.equal(isWithin(skipped, at('2026-03-29T01:00:00Z'), 'Europe/Berlin'), true, '03:00');
});

test('a day that comes every four years is found', () => {
  const leap = { from: '0 0 29 2 *', to: '0 0 1 3 *' };
  assert.equal(isWithin(leap, at('2028-02-29T12:00:00Z'), 'UTC'), true);
  assert.equal(isWithin(leap, at('2027-12-31T12:00:00Z'), 'UTC'), false);
});

test('what is no five-field expression, or no time zone, is told apart', () => {
  for (const good of ['0 1 * * *', '*/5 1-5 * jan mon-fri']) assert.equal(isCron(good), true, good);
  for (const bad of ['0 25 * * *', '0 0 1 * * *', 'L', '0 1 L * *', '', 'daily'])
    assert.equal(isCron(bad), false, bad);
  assert.equal(isTimeZone('Asia/Shanghai'), true);
  assert.equal(isTimeZone('Mars/Base'), false);
});
