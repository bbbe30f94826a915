import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { TokenBucket } from './token-bucket.ts';

test('a new bucket gives its burst at once and then one token at a time', () => {
  const bucket = new TokenBucket({ burst: 3, everyMs: 1000 });
  const told: [available: number, waitMs: number, untilNextMs: number][] = [];
  for (let i = 0; i < 3; i++) {
    told.push([bucket.available(0), bucket.waitMs(0), bucket.untilNextMs(0)]);
    bucket.take(0);
  }
  told.push([bucket.available(0), bucket.waitMs(0), bucket.untilNextMs(0)]);
  told.push([bucket.available(999), bucket.waitMs(999), bucket.untilNextMs(999)]);
  told.push([bucket.available(1000), bucket.waitMs(1000), bucket.untilNextMs(1000)]);
  assert.deepEqual(told, [
    [3, 0, 0],
    [2, 0, 1000],
    [1, 0, 1000],
    [0, 1000, 1000],
    [0, 1, 1],
    [1, 0, 1000],
  ]);
});

test('a token that is given back can be taken again, and never makes more than the burst', () => {
  const bucket = new TokenBucket({ burst: 1, everyMs: 1000 });
  bucket.take(0);
  assert.equal(bucket.waitMs(0), 1000);
  bucket.giveBack();
  assert.equal(bucket.waitMs(0), 0);
  bucket.take(0);
  // It came back by itself meanwhile; the one that is given back now is one too many.
  bucket.giveBack();
  bucket.giveBack();
  assert.equal(bucket.available(5000), 1);
  bucket.take(5000);
  assert.equal(bucket.waitMs(5000), 1000);
});

const requests = fc.array(fc.record({ gapMs: fc.nat(3000), giveBack: fc.boolean() }), { maxLength: 200 });
const rates = fc.record({
  burst: fc.integer({ min: 1, max: 20 }),
  everyMs: fc.integer({ min: 1, max: 2000 }),
});

test('it agrees with a bucket that is filled drop by drop', () => {
  fc.assert(
    fc.property(rates, requests, (rate, sent) => {
      const bucket = new TokenBucket(rate);
      let level = rate.burst * rate.everyMs;
      let now = 0;
      for (const { gapMs, giveBack } of sent) {
        now += gapMs;
        level = Math.min(rate.burst * rate.everyMs, level + gapMs);
        const may = level >= rate.everyMs;
        assert.equal(bucket.available(now), Math.floor(level / rate.everyMs));
        assert.equal(bucket.waitMs(now), Math.max(0, rate.everyMs - level));
        if (!may) continue;
        bucket.take(now);
        level -= rate.everyMs;
        if (!giveBack) continue;
        bucket.giveBack();
        level += rate.everyMs;
      }
    }),
  );
});

test('in no stretch of time more are let in than the burst and what came back meanwhile', () => {
  fc.assert(
    fc.property(rates, fc.array(fc.nat(500), { maxLength: 200 }), (rate, gaps) => {
      const bucket = new TokenBucket(rate);
      const taken: number[] = [];
      let now = 0;
      for (const gap of gaps) {
        now += gap;
        if (bucket.waitMs(now) > 0) continue;
        bucket.take(now);
        taken.push(now);
      }
      for (const [first, from] of taken.entries())
        for (const [last, until] of taken.entries())
          if (last >= first)
            assert.ok(last - first + 1 <= rate.burst + Math.floor((until - from) / rate.everyMs));
    }),
  );
});

test('who waits as long as it is told finds a token, however odd the ms', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 1000 }),
      fc.integer({ min: 1, max: 100 }),
      fc.double({ min: 0, max: 1e9, noNaN: true }),
      (perMinute, burst, start) => {
        const bucket = new TokenBucket({ burst, everyMs: 60_000 / perMinute });
        for (let i = 0; i < burst; i++) bucket.take(start);
        const wait = bucket.waitMs(start);
        assert.ok(wait > 0);
        assert.equal(bucket.waitMs(start + wait), 0);
      },
    ),
  );
});
