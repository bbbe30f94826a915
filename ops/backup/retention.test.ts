import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { kept, type Retention } from './retention.ts';
import { datedId, snapshotIdOf } from './snapshot.ts';

const DAY_MS = 86_400_000;
const USUAL: Retention = { daily: 7, weekly: 4, monthly: 6 };
const dated = (...moments: string[]) => moments.map((id) => ({ id, at: new Date(id) }));
const ids = (snapshots: readonly { id: string }[]) => snapshots.map(({ id }) => id);

/** One a day at three in the morning, the last on the day named. */
function daily(days: number, last: string) {
  const end = Date.parse(`${last}T03:00:00Z`);
  return Array.from({ length: days }, (_, back) => {
    const at = new Date(end - back * DAY_MS);
    return { id: at.toISOString().slice(0, 10), at };
  });
}

test('of a year of daily snapshots seven days, four weeks and six months are kept', () => {
  assert.deepEqual([...kept(daily(365, '2026-11-21'), USUAL)].sort(), [
    '2026-06-30',
    '2026-07-31',
    '2026-08-31',
    '2026-09-30',
    '2026-10-31',
    '2026-11-01',
    '2026-11-08',
    '2026-11-15',
    '2026-11-16',
    '2026-11-17',
    '2026-11-18',
    '2026-11-19',
    '2026-11-20',
    '2026-11-21',
  ]);
});

const cases: readonly [what: string, moments: string[], retention: Partial<Retention>, wanted: string[]][] = [
  [
    'of several of one day the last',
    ['2026-01-01T01:00Z', '2026-01-01T23:00Z'],
    { daily: 7 },
    ['2026-01-01T23:00Z'],
  ],
  [
    'days without a snapshot do not count',
    ['2026-01-01T00:00Z', '2026-03-01T00:00Z'],
    { daily: 2 },
    ['2026-01-01T00:00Z', '2026-03-01T00:00Z'],
  ],
  [
    'the newest even when nothing is kept',
    ['2026-01-01T00:00Z', '2026-01-02T00:00Z'],
    {},
    ['2026-01-02T00:00Z'],
  ],
  // 2026-12-31 and 2027-01-03 lie in one ISO week, 2027-01-04 begins the next.
  [
    'a week over the turn of the year is one week',
    ['2026-12-31T00:00Z', '2027-01-03T00:00Z', '2027-01-04T00:00Z'],
    { weekly: 2 },
    ['2027-01-03T00:00Z', '2027-01-04T00:00Z'],
  ],
  [
    'a month is one of its year',
    ['2025-02-01T00:00Z', '2026-02-01T00:00Z'],
    { monthly: 2 },
    ['2025-02-01T00:00Z', '2026-02-01T00:00Z'],
  ],
];
for (const [what, moments, retention, wanted] of cases)
  test(`kept: ${what}`, () => {
    const found = kept(dated(...moments), { daily: 0, weekly: 0, monthly: 0, ...retention });
    assert.deepEqual([...found].sort(), wanted);
  });

const moment = fc.date({
  min: new Date('2020-01-01T00:00:00Z'),
  max: new Date('2030-01-01T00:00:00Z'),
  noInvalidDate: true,
});
const snapshots = fc
  .uniqueArray(moment, { maxLength: 60, selector: (at) => snapshotIdOf(at) })
  .map((moments) => moments.map((at) => ({ id: snapshotIdOf(at), at })));
const retention = fc.record({ daily: fc.nat(10), weekly: fc.nat(10), monthly: fc.nat(10) });

test('whatever the dates: the newest stays, no more stay than allowed, order does not matter, and once is enough', () => {
  fc.assert(
    fc.property(snapshots, retention, (all, how) => {
      const keep = kept(all, how);
      const newest = ids(all).sort().at(-1);
      if (newest !== undefined) assert.ok(keep.has(newest));
      assert.ok(keep.size <= Math.max(1, how.daily + how.weekly + how.monthly));
      assert.deepEqual(kept([...all].reverse(), how), keep);
      assert.deepEqual(
        kept(
          all.filter(({ id }) => keep.has(id)),
          how,
        ),
        keep,
      );
    }),
  );
});

test('keeping more never lets one go that was kept before', () => {
  fc.assert(
    fc.property(snapshots, retention, retention, (all, how, more) => {
      const wider = {
        daily: how.daily + more.daily,
        weekly: how.weekly + more.weekly,
        monthly: how.monthly + more.monthly,
      };
      const keep = kept(all, wider);
      for (const id of kept(all, how)) assert.ok(keep.has(id));
    }),
  );
});

test('pruned every day for years, the rest is what pruning once would leave', () => {
  let left: { id: string; at: Date }[] = [];
  for (const one of daily(800, '2026-11-21').reverse()) {
    const all = [...left, one];
    const keep = kept(all, USUAL);
    left = all.filter(({ id }) => keep.has(id));
  }
  assert.deepEqual(new Set(ids(left)), kept(daily(800, '2026-11-21'), USUAL));
});

test('the name of a snapshot is its second, and other names are none', () => {
  fc.assert(
    fc.property(moment, (at) => {
      assert.equal(datedId(snapshotIdOf(at))?.at.getTime(), Math.floor(at.getTime() / 1000) * 1000);
    }),
  );
  for (const name of [
    '',
    '.making-2026-01-01T00-00-00Z',
    '2026-01-01',
    '2026-13-01T00-00-00Z',
    '2026-01-01T00-00-00Z.old',
  ])
    assert.equal(datedId(name), undefined, name);
});
