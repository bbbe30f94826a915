import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { BATCH_BEHIND_MS, type Backlog, COST_WEIGHT, Queue, type QueueOrder, type Waiter } from './queue.ts';

interface Named extends Waiter {
  readonly name: string;
}
const waiter = (name: string, arrivedAt: number, deadlineAt = 1e9): Named => ({
  name,
  arrivedAt,
  deadlineAt,
  expectedMs: 0,
  priority: 'interactive',
});
const line = (bound: number, order: QueueOrder = 'fifo', overloadMs = 1000) =>
  new Queue<Named>({ bound, order, overloadMs });
const anybody = () => true;

test('first come, first served', () => {
  const queue = line(10);
  for (const [at, name] of ['a', 'b', 'c'].entries()) queue.join(waiter(name, at));
  assert.deepEqual(
    [1, 2, 3].map((now) => queue.take(now, anybody).next?.name),
    ['a', 'b', 'c'],
  );
});

test('equal arrivals keep their order', () => {
  const queue = line(10);
  for (const name of ['a', 'b', 'c']) queue.join(waiter(name, 5));
  assert.deepEqual(
    [1, 2, 3].map((now) => queue.take(now, anybody).next?.name),
    ['a', 'b', 'c'],
  );
});

test('who comes back stands before all who came later', () => {
  const queue = line(10);
  const first = waiter('first', 1);
  queue.join(waiter('second', 2));
  queue.join(waiter('third', 3));
  queue.comeBack(first);
  assert.equal(queue.take(4, anybody).next, first);
});

test('a full line turns newcomers away, but never who comes back', () => {
  const queue = line(1);
  assert.equal(queue.join(waiter('a', 1)), true);
  assert.equal(queue.join(waiter('b', 2)), false);
  queue.comeBack(waiter('c', 0));
  assert.equal(queue.length, 2);
});

test('with a bound of 0 nobody waits', () => {
  assert.equal(line(0).join(waiter('a', 1)), false);
});

test('who is past the deadline is handed out as late and served to nobody', () => {
  const queue = line(10);
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
  const queue = line(10);
  queue.join(waiter('rare style', 1));
  queue.join(waiter('usual', 2));
  assert.equal(queue.take(3, ({ name }) => name !== 'rare style').next?.name, 'usual');
  assert.equal(queue.length, 1);
});

test('it is known when the first one can no longer finish', () => {
  const queue = line(10);
  assert.equal(queue.nextLateAt(), Number.POSITIVE_INFINITY);
  queue.join(waiter('a', 1, 70));
  queue.join({ ...waiter('b', 2, 80), expectedMs: 20 });
  assert.ok(Math.abs(queue.nextLateAt() - 60) < 1);
});

test('who can no longer finish is late before the deadline is past', () => {
  const queue = line(10);
  queue.join({ ...waiter('large', 1, 100), expectedMs: 60 });
  queue.join({ ...waiter('small', 2, 100), expectedMs: 10 });
  const { next, late } = queue.take(40, anybody);
  assert.equal(next?.name, 'small');
  assert.deepEqual(
    late.map(({ name }) => name),
    ['large'],
  );
});

/** Everybody in the order in which they are served. */
const served = (queue: Queue<Named>, now: number) => {
  const names: string[] = [];
  for (let { next } = queue.take(now, anybody); next; { next } = queue.take(now, anybody))
    names.push(next.name);
  return names;
};

const ORDERS: { name: string; order: QueueOrder; now: number; line: Partial<Named>[]; served: string[] }[] = [
  {
    name: 'a small picture passes a large one that came just before it',
    order: 'cost',
    now: 100,
    line: [
      { name: 'large', arrivedAt: 0, expectedMs: 400 },
      { name: 'small', arrivedAt: 50, expectedMs: 40 },
    ],
    served: ['small', 'large'],
  },
  {
    name: 'a small picture does not pass a large one that has waited for long',
    order: 'cost',
    now: 1000,
    line: [
      { name: 'large', arrivedAt: 0, expectedMs: 400 },
      { name: 'small', arrivedAt: COST_WEIGHT * 360 + 1, expectedMs: 40 },
    ],
    served: ['large', 'small'],
  },
  {
    name: 'fifo does not look at the size',
    order: 'fifo',
    now: 100,
    line: [
      { name: 'large', arrivedAt: 0, expectedMs: 400 },
      { name: 'small', arrivedAt: 50, expectedMs: 40 },
    ],
    served: ['large', 'small'],
  },
  {
    name: 'live users pass batch work',
    order: 'fifo',
    now: 100,
    line: [
      { name: 'batch', arrivedAt: 0, priority: 'batch' },
      { name: 'live', arrivedAt: 50 },
    ],
    served: ['live', 'batch'],
  },
  {
    name: 'batch work that has waited long enough is served before new live users',
    order: 'fifo',
    now: BATCH_BEHIND_MS + 100,
    line: [
      { name: 'batch', arrivedAt: 0, priority: 'batch' },
      { name: 'live', arrivedAt: BATCH_BEHIND_MS + 1 },
    ],
    served: ['batch', 'live'],
  },
  {
    name: 'batch work with little patience waits for half of it at most',
    order: 'fifo',
    now: 600,
    line: [
      { name: 'batch', arrivedAt: 0, deadlineAt: 1000, priority: 'batch' },
      { name: 'live', arrivedAt: 501 },
    ],
    served: ['batch', 'live'],
  },
  {
    name: 'without overload lifo-overload keeps the order of arrival',
    order: 'lifo-overload',
    now: 1000,
    line: [
      { name: 'a', arrivedAt: 0 },
      { name: 'b', arrivedAt: 900 },
    ],
    served: ['a', 'b'],
  },
  {
    name: 'while the oldest waits too long the newest is served first, and then the order turns back',
    order: 'lifo-overload',
    now: 1600,
    line: [
      { name: 'a', arrivedAt: 500 },
      { name: 'b', arrivedAt: 700 },
      { name: 'c', arrivedAt: 1500 },
    ],
    served: ['c', 'b', 'a'],
  },
  {
    name: 'under overload batch work stays behind live users until it has waited its time',
    order: 'lifo-overload',
    now: 1600,
    line: [
      { name: 'old', arrivedAt: 500 },
      { name: 'batch', arrivedAt: 1400, priority: 'batch' },
    ],
    served: ['old', 'batch'],
  },
];
for (const { name, order, now, line: waiters, served: expected } of ORDERS)
  test(name, () => {
    const queue = line(10, order);
    for (const each of waiters) queue.join({ ...waiter('', 0), ...each });
    assert.deepEqual(served(queue, now), expected);
  });

test('nobody starves: in cost order one is only passed by who came within the span of the costs', () => {
  const picture = fc.record({
    gap: fc.integer({ min: 0, max: 50 }),
    expectedMs: fc.integer({ min: 1, max: 400 }),
    priority: fc.constantFrom('interactive' as const, 'batch' as const),
  });
  fc.assert(
    fc.property(fc.array(picture, { maxLength: 40 }), (pictures) => {
      const queue = line(100, 'cost');
      let at = 0;
      for (const [index, { gap, ...each }] of pictures.entries()) {
        at += gap;
        queue.join({ ...waiter(String(index), at), ...each });
      }
      const order: Named[] = [];
      for (let { next } = queue.take(at, anybody); next; { next } = queue.take(at, anybody)) order.push(next);
      assert.equal(order.length, pictures.length);
      for (const [index, early] of order.entries())
        for (const passed of order.slice(index + 1)) {
          const span = COST_WEIGHT * 400 + (passed.priority === 'batch' ? BATCH_BEHIND_MS : 0);
          assert.ok(early.arrivedAt <= passed.arrivedAt + span);
        }
    }),
  );
});

const backlog: Backlog = { now: 0, slots: 1, residualMs: 0, latenessMs: 0 };

test('the work before a newcomer is that of all who will be served first, and never drifts', () => {
  const picture = fc.record({
    gap: fc.integer({ min: 0, max: 50 }),
    expectedMs: fc.double({ min: 0.1, max: 400, noNaN: true }),
  });
  fc.assert(
    fc.property(
      fc.array(picture, { maxLength: 30 }),
      fc.constantFrom<QueueOrder>('cost', 'fifo'),
      fc.nat(30),
      (pictures, order, takes) => {
        const queue = line(100, order);
        let at = 0;
        for (const { gap, expectedMs } of pictures) {
          at += gap;
          queue.join({ ...waiter('', at), expectedMs });
        }
        for (let i = 0; i < takes; i++) queue.take(at, anybody);
        const newcomer = { ...waiter('new', at + 1), expectedMs: 100 };
        const { place, waitMs: claimed } = queue.foresee(newcomer, backlog);
        const total = queue.workMs;
        queue.join(newcomer, place);
        let before = 0;
        for (let { next } = queue.take(at, anybody); next !== newcomer; { next } = queue.take(at, anybody))
          before += next?.expectedMs ?? Number.NaN;
        assert.ok(Math.abs(before - claimed) < 1e-6, `${before} against ${claimed}`);
        assert.ok(total >= claimed - 1e-6);
        while (queue.length > 0) queue.take(at, anybody);
        assert.equal(queue.workMs, 0);
      },
    ),
  );
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
      const queue = line(bound);
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

test('a small picture passes a large one, but not one that would be late for it', () => {
  for (const [patience, order] of [
    [1000, ['before', 'small', 'large']],
    [900, ['before', 'large', 'small']],
  ] as const) {
    const queue = line(10, 'cost');
    queue.join({ ...waiter('before', -1000), expectedMs: 450 });
    const large = { ...waiter('large', 5, 5 + patience), expectedMs: 400 };
    queue.join(large, queue.foresee(large, { ...backlog, now: 5 }).place);
    const small = { ...waiter('small', 10), expectedMs: 60 };
    queue.join(small, queue.foresee(small, { ...backlog, now: 10 }).place);
    const served = order.map(() => queue.take(10, anybody).next?.name);
    assert.deepEqual(served, order, `patience ${patience}`);
  }
});

test('live users pass batch work whatever becomes of it', () => {
  const queue = line(10, 'cost');
  const batch: Named = { ...waiter('batch', 0, 500), expectedMs: 400, priority: 'batch' };
  queue.join(batch, queue.foresee(batch, backlog).place);
  const live = { ...waiter('live', 10), expectedMs: 400 };
  queue.join(live, queue.foresee(live, { ...backlog, now: 10 }).place);
  assert.equal(queue.take(10, anybody).next?.name, 'live');
});

test('one who stands behind a place of its own is found when it leaves', () => {
  const queue = line(10, 'fifo');
  const first = waiter('first', 100);
  queue.join(first);
  const second = waiter('second', 50);
  queue.join(second, 100);
  assert.equal(queue.leave(second), true);
  assert.equal(queue.length, 1);
});

test('who was let in and is served in turn never becomes late, whatever joins after it', () => {
  const picture = fc.record({
    gap: fc.integer({ min: 0, max: 60 }),
    expectedMs: fc.constantFrom(20, 40, 100, 400),
    patience: fc.integer({ min: 200, max: 1500 }),
  });
  fc.assert(
    fc.property(
      fc.array(picture, { minLength: 1, maxLength: 60 }),
      fc.integer({ min: 1, max: 4 }),
      fc.constantFrom<QueueOrder>('cost', 'fifo'),
      (pictures, slots, order) => {
        const queue = line(1000, order);
        const endings: number[] = [];
        const serve = (now: number) => {
          while (endings.length < slots && queue.length > 0) {
            const { next, late } = queue.take(now, anybody);
            assert.deepEqual(late, []);
            if (!next) return;
            endings.push(now + next.expectedMs);
            endings.sort((a, b) => a - b);
          }
        };
        const until = (limit: number) => {
          for (let end = endings[0]; end !== undefined && end <= limit; end = endings[0]) {
            endings.shift();
            serve(end);
          }
        };
        let now = 0;
        for (const [index, { gap, expectedMs, patience }] of pictures.entries()) {
          now += gap;
          until(now);
          const newcomer = { ...waiter(String(index), now, now + patience), expectedMs };
          if (endings.length < slots) {
            endings.push(now + expectedMs);
            endings.sort((a, b) => a - b);
            continue;
          }
          const residualMs = endings.reduce((sum, end) => sum + end - now, 0);
          const { place, late } = queue.foresee(newcomer, { now, slots, residualMs, latenessMs: 0 });
          if (!late) queue.join(newcomer, place);
        }
        until(Number.POSITIVE_INFINITY);
        assert.equal(queue.length, 0);
      },
    ),
    {
      numRuns: 500,
      // Two in a row that may not pass the same large one: the second stands behind the first, not before it.
      examples: [
        [
          [
            { gap: 0, expectedMs: 400, patience: 200 },
            { gap: 0, expectedMs: 400, patience: 809 },
            { gap: 128, expectedMs: 20, patience: 740 },
            { gap: 54, expectedMs: 40, patience: 665 },
          ],
          1,
          'cost',
        ],
      ],
    },
  );
});
