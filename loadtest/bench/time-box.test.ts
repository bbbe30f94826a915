import assert from 'node:assert/strict';
import test from 'node:test';
import { TimeBox } from './time-box.ts';

/** A clock that only moves when it is told to. */
function clock() {
  let ms = 0;
  return {
    now: () => ms,
    pass: (by: number) => {
      ms += by;
    },
  };
}

test('a time box repeats as long as one more turn of the longest so far would end in time', async () => {
  const { now, pass } = clock();
  const box = new TimeBox(0.75, now);
  const turns: number[] = [];
  const done = await box.repeat(9, async (turn) => {
    turns.push(turn);
    pass(17_000);
  });
  assert.equal(done, 2);
  assert.deepEqual(turns, [0, 1]);
});

test('the first turn is always tried, and no more turns than were asked for', async () => {
  const { now, pass } = clock();
  assert.equal(await new TimeBox(0, now).repeat(5, async () => pass(1)), 1);
  assert.equal(await new TimeBox(9, now).repeat(3, async () => pass(1)), 3);
});

test('what one part leaves of its share is there for the next', () => {
  const { now, pass } = clock();
  const box = new TimeBox(3, now);
  assert.equal(box.share(3).leftMs, 60_000);
  pass(30_000);
  assert.equal(box.share(2).leftMs, 75_000);
});
