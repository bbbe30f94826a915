import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { ToonError } from '../config/errors.ts';
import { type Release, Slot, type SlotClock } from './slot.ts';

/** A clock that stands still until it is told. */
function fakeClock(): SlotClock & { pass(ms: number): void } {
  let now = 0;
  let timers: { at: number; call: () => void }[] = [];
  return {
    now: () => now,
    after(ms, call) {
      const timer = { at: now + ms, call };
      timers.push(timer);
      return () => {
        timers = timers.filter((other) => other !== timer);
      };
    },
    pass(ms) {
      now += ms;
      const due = timers.filter(({ at }) => at <= now).sort((a, b) => a.at - b.at);
      timers = timers.filter(({ at }) => at > now);
      for (const { call } of due) call();
    },
  };
}

const code = (error: unknown) => (error instanceof ToonError ? error.code : error);
const rejection = (promise: Promise<unknown>) => promise.then(() => 'fulfilled', code);

test('the slot is taken once, and given back once however often', () => {
  const slot = new Slot(0, fakeClock());
  const release = slot.tryClaim();
  assert.ok(release);
  assert.equal(slot.tryClaim(), undefined);
  release();
  const again = slot.tryClaim();
  assert.ok(again);
  release();
  assert.equal(slot.busy, true, 'the second release of the first holder frees nobody else’s slot');
});

test('those who wait are admitted in the order in which they came', async () => {
  const slot = new Slot(3, fakeClock());
  const first = slot.tryClaim();
  const order: string[] = [];
  const wait = (name: string) =>
    slot.claim(1000).then((release) => {
      order.push(name);
      release();
    });
  const all = [wait('a'), wait('b'), wait('c')];
  first?.();
  await Promise.all(all);
  assert.deepEqual(order, ['a', 'b', 'c']);
  assert.equal(slot.busy, false);
});

test('a balancer never overtakes those who wait', async () => {
  const slot = new Slot(1, fakeClock());
  const first = slot.tryAttempt();
  const waiting = slot.claim(1000);
  first?.();
  assert.equal(slot.tryAttempt(), undefined);
  (await waiting)();
  assert.ok(slot.tryAttempt());
});

test('a balancer that was told busy and those who wait take turns', async () => {
  const clock = fakeClock();
  const slot = new Slot(10, clock);
  const order: string[] = [];
  let release = slot.tryClaim();
  const held = (by: string) => (given: Release) => {
    order.push(by);
    release = given;
  };
  for (let i = 0; i < 4; i++) void slot.claim(1e6).then(held('direct'));
  // Each picture takes 100 ms; a balancer comes back 30 ms after each "busy".
  for (let ms = 0; ms < 1000; ms += 10) {
    clock.pass(10);
    if (ms % 30 === 0) {
      const attempt = slot.tryAttempt();
      if (attempt) held('balancer')(attempt);
    }
    if (ms % 100 === 90) release?.();
    await Promise.resolve();
    await Promise.resolve();
  }
  assert.deepEqual(order.slice(0, 6), ['balancer', 'direct', 'balancer', 'direct', 'balancer', 'direct']);
});

test('a slot that is kept for a balancer goes to the next who waits when none comes', async () => {
  const clock = fakeClock();
  const slot = new Slot(2, clock);
  const first = await slot.claim(1e6);
  assert.equal(slot.tryAttempt(), undefined);
  const waiting = slot.claim(1e6);
  first();
  const anew = slot.claim(1e6);
  clock.pass(59);
  assert.equal(slot.queued, 2);
  clock.pass(1);
  (await waiting)();
  (await anew)();
  assert.equal(slot.busy, false);
  assert.ok(slot.tryAttempt());
});

test('a balancer that asked long ago keeps nobody waiting', async () => {
  const clock = fakeClock();
  const slot = new Slot(1, clock);
  const first = await slot.claim(1e6);
  slot.tryAttempt();
  clock.pass(200);
  const waiting = slot.claim(1e6);
  first();
  await waiting;
});

test('a full queue refuses at once, with a Retry-After that is true to the backlog', async () => {
  const clock = fakeClock();
  const slot = new Slot(2, clock);
  for (let round = 0; round < 60; round++) {
    const release = slot.tryClaim();
    clock.pass(2000);
    release?.();
  }
  slot.tryClaim();
  void slot.claim(1e6);
  void slot.claim(1e6);
  const refusal = await slot.claim(1e6).catch((error: ToonError) => error);
  assert.ok(refusal instanceof ToonError);
  assert.equal(refusal.code, 'overloaded');
  assert.ok(Math.abs((refusal.details.retryAfterMs ?? 0) - 6000) < 100, String(refusal.details.retryAfterMs));
});

test('who waits past his deadline is refused and leaves the queue', async () => {
  const clock = fakeClock();
  const slot = new Slot(2, clock);
  slot.tryClaim();
  const late = rejection(slot.claim(100));
  clock.pass(99);
  assert.equal(slot.queued, 1);
  clock.pass(1);
  assert.equal(await late, 'overloaded');
  assert.equal(slot.queued, 0);
});

test('a client who leaves makes room', async () => {
  const slot = new Slot(1, fakeClock());
  const release = slot.tryClaim();
  const left = new AbortController();
  const gone = rejection(slot.claim(1000, left.signal));
  left.abort();
  assert.equal(await gone, 'client_gone');
  assert.equal(slot.queued, 0);
  release?.();
  assert.equal(slot.busy, false);
});

test('idle time counts from the last release', () => {
  const clock = fakeClock();
  const slot = new Slot(0, clock);
  const release = slot.tryClaim();
  clock.pass(50);
  assert.equal(slot.idleMs, 0);
  release?.();
  clock.pass(20);
  assert.equal(slot.idleMs, 20);
});

test('whatever happens, at most one holds the slot and nobody is forgotten', async () => {
  const step = fc.oneof(
    fc.constant({ kind: 'try' as const }),
    fc.constant({ kind: 'attempt' as const }),
    fc.record({ kind: fc.constant('claim' as const), patience: fc.integer({ min: 0, max: 50 }) }),
    fc.constant({ kind: 'release' as const }),
    fc.record({ kind: fc.constant('pass' as const), ms: fc.integer({ min: 1, max: 30 }) }),
    fc.record({ kind: fc.constant('leave' as const), which: fc.nat(5) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), fc.nat(4), async (steps, queueLength) => {
      const clock = fakeClock();
      const slot = new Slot(queueLength, clock);
      const holders: Release[] = [];
      const leavers: AbortController[] = [];
      const settled: Promise<unknown>[] = [];
      const hold = (release: Release) => {
        holders.push(release);
        assert.equal(holders.length, 1);
      };
      for (const each of steps) {
        switch (each.kind) {
          case 'try':
          case 'attempt': {
            const release = each.kind === 'try' ? slot.tryClaim() : slot.tryAttempt();
            if (release) hold(release);
            break;
          }
          case 'claim': {
            const left = new AbortController();
            leavers.push(left);
            settled.push(slot.claim(clock.now() + each.patience, left.signal).then(hold, () => {}));
            break;
          }
          case 'release':
            holders.pop()?.();
            break;
          case 'pass':
            clock.pass(each.ms);
            break;
          case 'leave':
            leavers[each.which]?.abort();
            break;
        }
        await Promise.resolve();
        await Promise.resolve();
        assert.equal(slot.busy, holders.length === 1);
        assert.ok(slot.queued <= queueLength);
      }
      for (let round = 0; round < 10; round++) {
        holders.pop()?.();
        clock.pass(100);
        await Promise.resolve();
        await Promise.resolve();
      }
      await Promise.all(settled);
      assert.equal(slot.busy, false);
    }),
    { numRuns: 200 },
  );
});
