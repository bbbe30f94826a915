import assert from 'node:assert/strict';
import test from 'node:test';
import { idealOf, LOADS, OVERLOADS, Seen, tablesOf } from './balancer-tables.ts';
import type { Ended } from './clients.ts';
import type { Contender } from './rivals.ts';
import { SLEEPERS_MIX } from './trace.ts';

const round = { mix: SLEEPERS_MIX, slots: 8, deadlineMs: 1000, seconds: 20, seed: 1 };

/** The ideal, each latency changed. */
function like(change: (ended: Ended) => Ended): Seen {
  const { seen } = idealOf(round);
  const copy = new Seen();
  for (const load of LOADS) copy.latency(load).push(...seen.latency(load).map(change));
  for (const load of OVERLOADS) copy.overload(load).push(...seen.overload(load).map(change));
  copy.alone.push(...seen.alone.map(change));
  copy.slow.push(...seen.alone.map(change));
  copy.passing.addedMs.push(0.5);
  copy.passing.perSecond.push(2500);
  copy.passing.cpuMs.push(0.4);
  return copy;
}

const tables = (entries: [Contender, Seen][], rounds = 1) =>
  tablesOf(
    new Map(entries),
    Array.from({ length: rounds }, () => idealOf(round)),
    'a stage',
  ).tables;

test('a balancer that is as good as the ideal reaches every goal', () => {
  const same = () => like((ended) => ended);
  const all = tables([
    ['toonfleet fifo', same()],
    ['toonfleet cost', like((ended) => ({ ...ended, ms: ended.large ? ended.ms : ended.ms * 0.7 }))],
    ['haproxy tuned', same()],
    ['nginx nodes', like((ended) => ({ ...ended, ms: ended.ms * 2 }))],
  ]);
  const goals = all.at(-1)?.rows ?? [];
  assert.equal(goals.length, 11);
  assert.deepEqual(
    goals.filter(([, , , reached]) => reached !== 'yes'),
    [],
  );
});

test('what is twice as slow stands with its ratio, and its goals as not reached', () => {
  const all = tables([
    ['toonfleet fifo', like((ended) => ({ ...ended, ms: ended.ms * 2 }))],
    ['haproxy tuned', like((ended) => ended)],
  ]);
  const [first] = all;
  const row = first?.rows.find(([name]) => name === 'toonfleet fifo');
  assert.deepEqual(row?.slice(-2), ['2.00 / 2.00 / 2.00', '2.00 / 2.00 / 2.00']);
  assert.equal(all.at(-1)?.rows[0]?.at(-1), 'no');
});

test('a client that gave up counts as never answered, not as failed and not as goodput', () => {
  const all = tables([
    ['toonfleet cost', like((ended) => (ended.large ? { ...ended, kind: 'gave up' } : ended))],
  ]);
  const row = all[0]?.rows.find(([name]) => name === 'toonfleet cost');
  assert.match(row?.[2] ?? '', /> deadline/);
  const overload = all[3]?.rows.find(([name]) => name === 'toonfleet cost');
  assert.match(overload?.[1] ?? '', /^0\.\d\d; .* gave up$/);
});

test('rounds are pooled: two equal rounds of the ideal change no percentile', () => {
  const entries: [Contender, Seen][] = [['haproxy tuned', like((ended) => ended)]];
  assert.deepEqual(tables(entries, 2)[0]?.rows[0], tables(entries, 1)[0]?.rows[0]);
});
