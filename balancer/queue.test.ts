import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { Queue, type Waiter } from './queue.ts';

interface Named extends Waiter {
  readonly name: string;
}
const waiter = (name: string, arrivedAt: number, deadlineAt = 1e9): Named => ({
  name,
  arrivedAt,
  deadlineAt,
});
const anybody = () => true;

test('first come, first served', () => {
  const queue = new Queue<Named>(10);
  for (const [at, name] of ['a', 'b', 'c'].entries()) queue.join(waiter(name, at));
  assert.deepEqual(
    [1, 2, 3].map((now) => queue.take(now, anybody).next?.name),
    ['a', 'b', 'c'],
  );
});

test('equal arrivals keep their order', () => {
  const queue = new Queue<Named>(10);
  for (const name of ['a', 'b', 'c']) queue.join(waiter(name, 5));
  assert.deepEqual(
    [1, 2, 3].map((now) => queue.take(now, anybody).next?.name),
    ['a', 'b', 'c'],
  );
});

test('who comes back stands before all who came later', () => {
  const queue = new Queue<Named>(10);
  const first = waiter('first', 1);
  queue.join(waiter('second', 2));
  queue.join(waiter('third', 3));
  queue.comeBack(first);
  assert.equal(queue.take(4, anybody).next, first);
});

test('a full line turns newcomers away, but never who comes back', () => {
  const queue = new Queue<Named>(1);
  assert.equal(queue.join(waiter('a', 1)), true);
  assert.equal(queue.join(waiter('b', 2)), false);
  queue.comeBack(waiter('c', 0));
  assert.equal(queue.length, 2);
});

test('with a bound of 0 nobody waits', () => {
  assert.equal(new Queue<Named>(0).join(waiter('a', 1)), false);
});

test('who is past the deadline is handed out as late and served to nobody', () => {
  const queue = new Queue<Named>(10);
  queue.join(waiter('late', 1, 50));
  queue.join(waiter('in time', 2, 51));
  const { next, late } = queue.take(50, anybody);
  assert.equal(next?.name, 'in time');
  assert.deepEqual(
    late.map(({ name }) => name),
    ['late'],
  );
  assert.equal(queue.length, 0);
});

test('one whom nobody can serve now does not hold up the others', () => {
  const queue = new Queue<Named>(10);
  queue.join(waiter('rare style', 1));
  queue.join(waiter('usual', 2));
  assert.equal(queue.take(3, ({ name }) => name !== 'rare style').next?.name, 'usual');
  assert.equal(queue.length, 1);
});

test('the earliest deadline is known', () => {
  const queue = new Queue<Named>(10);
  assert.equal(queue.earliestDeadline(), Number.POSITIVE_INFINITY);
  queue.join(waiter('a', 1, 70));
  queue.join(waiter('b', 2, 60));
  assert.equal(queue.earliestDeadline(), 60);
});

/** The line as a plain array, sorted by hand: what the queue must do, in the simplest words. */
class Model {
  line: Named[] = [];
  join(w: Named) {
    this.line.push(w);
    this.line.sort((a, b) => a.arrivedAt - b.arrivedAt);
  }
}

test('whatever happens, it is FIFO by first arrival, loses nobody and doubles nobody', () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant('join' as const), patience: fc.integer({ min: 1, max: 20 }) }),
    fc.record({ kind: fc.constant('take' as const) }),
    fc.record({ kind: fc.constant('return' as const) }),
    fc.record({ kind: fc.constant('leave' as const), index: fc.nat(10) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.integer({ min: 0, max: 6 }), (steps, bound) => {
      const queue = new Queue<Named>(bound);
      const model = new Model();
      const served: Named[] = [];
      const ended = new Map<Named, number>();
      const end = (w: Named) => ended.set(w, (ended.get(w) ?? 0) + 1);
      let now = 0;
      for (const each of steps) {
        now += 1;
        switch (each.kind) {
          case 'join': {
            const w = waiter(`w${now}`, now, now + each.patience);
            const fits = model.line.length < bound;
            assert.equal(queue.join(w), fits);
            if (fits) model.join(w);
            break;
          }
          case 'take': {
            const { next, late } = queue.take(now, anybody);
            const inTime = model.line.filter(({ deadlineAt }) => deadlineAt > now);
            assert.equal(next, inTime[0]);
            if (next) assert.ok(next.deadlineAt > now);
            const before = next ? model.line.slice(0, model.line.indexOf(next)) : model.line;
            assert.deepEqual(
              late,
              before.filter(({ deadlineAt }) => deadlineAt <= now),
            );
            late.forEach(end);
            if (next) served.push(next);
            model.line = model.line.filter((w) => w !== next && !late.includes(w));
            break;
          }
          case 'return': {
            const w = served.pop();
            if (!w) break;
            queue.comeBack(w);
            model.join(w);
            break;
          }
          case 'leave': {
            const w = model.line[each.index];
            if (!w) break;
            assert.equal(queue.leave(w), true);
            assert.equal(queue.leave(w), false);
            model.line = model.line.filter((other) => other !== w);
            break;
          }
        }
        assert.equal(queue.length, model.line.length);
      }
      for (const count of ended.values()) assert.equal(count, 1);
    }),
    { numRuns: 300 },
  );
});
