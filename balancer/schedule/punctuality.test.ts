import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { Punctuality, reserveMs } from './punctuality.ts';

test('nearly all answers come within the lateness that it learns', () => {
  const punctuality = new Punctuality();
  let [within, count] = [0, 0];
  for (let i = 0; i < 4000; i++) {
    // 0 to 30 ms behind, as an encoding after the slot was given back.
    const behind = (i * 7919) % 31;
    if (i > 500) {
      count += 1;
      if (behind <= punctuality.latenessMs(0)) within += 1;
    }
    punctuality.noteAnswer(behind);
  }
  assert.ok(within / count > 0.85 && within / count <= 1, `${within / count}`);
  assert.ok(punctuality.latenessMs(0) <= 40);
});

test('answers in time need no reserve', () => {
  const punctuality = new Punctuality();
  for (let i = 0; i < 100; i++) punctuality.noteAnswer(-5);
  assert.equal(punctuality.latenessMs(0), 0);
});

test('a lag of the event loop counts at once and is forgotten by halves', () => {
  const punctuality = new Punctuality();
  punctuality.noteLag(1000, 80);
  punctuality.noteLag(1000, 10);
  assert.equal(punctuality.latenessMs(1000), 80);
  assert.equal(punctuality.latenessMs(2000), 40);
});

for (const { name, leftMs, patienceMs, lateness } of [
  { name: 'a little before its deadline', leftMs: 30, patienceMs: 1000, lateness: 30 },
  { name: 'with most of its patience left', leftMs: 800, patienceMs: 1000, lateness: 0 },
  { name: 'behind its deadline', leftMs: -5, patienceMs: 1000, lateness: 0 },
  { name: 'early by much of a long patience', leftMs: 10_000, patienceMs: 60_000, lateness: 250 },
])
  test(`a client that leaves ${name} tells of ${lateness} ms`, () => {
    const punctuality = new Punctuality();
    punctuality.noteGone(0, leftMs, patienceMs);
    assert.equal(punctuality.latenessMs(0), lateness);
  });

test('the reserve leaves something for the wire and never takes more than a fifth of the patience', () => {
  assert.equal(reserveMs(5000, 0), 50);
  assert.equal(reserveMs(1000, 20), 30);
  fc.assert(
    fc.property(
      fc.double({ min: 1, max: 1e6, noNaN: true }),
      fc.double({ min: 0, max: 1e6, noNaN: true }),
      (patience, late) => {
        const reserve = reserveMs(patience, late);
        assert.ok(reserve >= 0 && reserve <= 0.2 * patience);
      },
    ),
  );
});
