import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { ToonError } from '../../config/errors.ts';
import { type Claim, Pool, type Want } from '../fleet/pool.ts';
import { Dispatch, type Ticket } from './dispatch.ts';
import { NOWHERE } from './pick.ts';

const target = (id: string) => ({ origin: id, protocol: 'http:' as const, hostname: id, port: 1 });
const STYLE = { title: '', model: 'm', licence: '', thumbnail_url: null, aliases: [], default: true };

const WANT: Want = { style: undefined, priority: 'interactive', expectedMs: 0, tried: NOWHERE };

/** A pool and a dispatch on a clock that the test moves. Deadlines are met by `stir`, as the real timer does. */
function fleet(workers: readonly { id: string; slots?: number; node?: string }[], queueLength = 100) {
  const clock = { now: 1000 };
  const pool: Pool = new Pool({
    counts: { rise: 2, fall: 3 },
    zone: 'default',
    random: () => 0.5,
    now: () => clock.now,
    events: { changed() {}, judged() {}, stirred: (what) => dispatch.stir(what) },
  });
  const dispatch: Dispatch = new Dispatch({
    pool,
    queueLength,
    order: 'cost',
    overloadMs: 1000,
    now: () => clock.now,
    after: (ms, call) => {
      const timer = setTimeout(call, ms);
      timer.unref();
      return () => clearTimeout(timer);
    },
    latenessMs: () => 0,
    recoveryMs: 1000,
  });
  for (const { id, slots = 1, node } of workers) {
    pool.put({ id, target: target(id), node, slots, nodeDraining: false });
    pool.tell(id, { kind: 'passed' });
  }
  const enter = (more: Partial<Parameters<Dispatch['enter']>[0]> = {}): Ticket =>
    dispatch.enter({
      want: WANT,
      arrivedAt: more.arrivedAt ?? clock.now++,
      deadlineAt: clock.now + 60_000,
      returning: false,
      ...more,
    });
  return { pool, dispatch, clock, enter };
}
const code = (expected: string) => (error: unknown) => error instanceof ToonError && error.code === expected;

test('a slot is given back once, however often it is released', async () => {
  const { enter, pool, dispatch } = fleet([{ id: 'a' }]);
  const first = await enter().claim;
  const second = enter();
  const third = enter();
  first.release();
  first.release();
  await second.claim;
  assert.equal(pool.get('a')?.taken, 1);
  assert.equal(dispatch.queued, 1);
  third.claim.catch(() => {});
  third.leave();
});

test('who waits is served in the order of arrival', async () => {
  const { enter } = fleet([{ id: 'a' }]);
  const order: string[] = [];
  const first = await enter().claim;
  const waiting = ['b', 'c', 'd'].map((name) =>
    enter().claim.then((claim) => {
      order.push(name);
      claim.release();
    }),
  );
  first.release();
  await Promise.all(waiting);
  assert.deepEqual(order, ['b', 'c', 'd']);
});

test('who comes back is served before all who came later', async () => {
  const { enter } = fleet([{ id: 'a' }]);
  const first = await enter().claim;
  const order: string[] = [];
  const later = enter().claim.then(() => order.push('later'));
  const back = enter({ arrivedAt: 0, returning: true }).claim.then((claim) => {
    order.push('back');
    claim.release();
  });
  first.release();
  await Promise.all([later, back]);
  assert.deepEqual(order, ['back', 'later']);
});

test('a full queue refuses at once', async () => {
  const { enter } = fleet([{ id: 'a' }], 1);
  await enter().claim;
  const waiting = enter();
  await assert.rejects(enter().claim, code('overloaded'));
  waiting.claim.catch(() => {});
  waiting.leave();
});

test('with nobody usable it refuses at once', () => {
  const { enter, pool } = fleet([{ id: 'a' }]);
  pool.tell('a', { kind: 'lost' });
  assert.throws(() => enter(), code('no_upstream'));
});

test('when the last one is ejected, who waits is told at once', async () => {
  const { enter, pool } = fleet([{ id: 'a' }]);
  await enter().claim;
  const waiting = enter();
  pool.tell('a', { kind: 'lost' });
  await assert.rejects(waiting.claim, code('no_upstream'));
});

test('one that was tried everywhere has failed', () => {
  const { enter } = fleet([{ id: 'a' }]);
  assert.throws(
    () => enter({ want: { ...WANT, tried: { upstreams: new Set(['a']), nodes: new Set() } } }),
    code('upstream_failed'),
  );
});

test('who leaves the line frees the place, and a slot given in that moment comes back', async () => {
  const { enter, pool, dispatch } = fleet([{ id: 'a' }]);
  const first = await enter().claim;
  const second = enter();
  second.leave();
  await assert.rejects(second.claim, code('client_gone'));
  assert.equal(dispatch.queued, 0);
  const third = enter();
  first.release();
  third.leave();
  await third.claim;
  assert.equal(pool.get('a')?.taken, 0);
});

test('who is past the deadline is refused by the timer, though no slot ever came free', async () => {
  const { enter, clock } = fleet([{ id: 'a' }]);
  await enter().claim;
  const waiting = enter({ deadlineAt: clock.now + 5 });
  clock.now += 10;
  const refused = assert.rejects(waiting.claim, code('overloaded'));
  // The timer alone does not keep a process alive, and so not this test either.
  const alive = setTimeout(() => {}, 10_000);
  await refused;
  clearTimeout(alive);
});

test('a style is drawn only by who can draw it, and does not hold up the others', async () => {
  const { enter, pool } = fleet([{ id: 'a' }, { id: 'b' }]);
  pool.learnStyles('a', [{ ...STYLE, id: 'meadow' }]);
  pool.learnStyles('b', [{ ...STYLE, id: 'sky', aliases: ['hayao_64'] }]);
  assert.equal((await enter({ want: { ...WANT, style: 'hayao_64' } }).claim).upstream.id, 'b');
  const sky = enter({ want: { ...WANT, style: 'sky' } });
  assert.equal((await enter({ want: { ...WANT, style: 'meadow' } }).claim).upstream.id, 'a');
  assert.equal(pool.cannotDraw('ink'), true);
  assert.equal(pool.cannotDraw('sky'), false);
  sky.claim.catch(() => {});
  sky.leave();
});

test('a worker that said busy counts as full for a moment', async () => {
  const { enter, pool, clock, dispatch } = fleet([{ id: 'a' }]);
  const claim = await enter().claim;
  const until = pool.hold('a');
  claim.release();
  let got = false;
  const again = enter({ arrivedAt: 0, returning: true }).claim.then(() => {
    got = true;
  });
  await Promise.resolve();
  assert.equal(got, false);
  clock.now = until;
  dispatch.stir();
  await again;
});

test('a draining node takes nothing new', async () => {
  const { enter, pool } = fleet([
    { id: 'a', node: 'n1', slots: 2 },
    { id: 'b', node: 'n2', slots: 2 },
  ]);
  pool.put({ id: 'a', target: target('a'), node: 'n1', slots: 2, nodeDraining: true });
  assert.equal((await enter().claim).upstream.id, 'b');
  assert.equal((await enter().claim).upstream.id, 'b');
});

test('an ejected worker has what runs on it cut, a removed one has not', async () => {
  const { enter, pool } = fleet([{ id: 'a' }, { id: 'b' }]);
  const cuts: string[] = [];
  for (let i = 0; i < 2; i++) {
    const claim = await enter().claim;
    claim.onDeath(() => cuts.push(claim.upstream.id));
  }
  pool.tell('a', { kind: 'lost' });
  pool.tell('b', { kind: 'removed' });
  assert.deepEqual(cuts, ['a']);
});

test('whatever happens: never more than slots, each ticket ends once, nobody starts late, no slot is lost', async () => {
  const step = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constant('enter' as const),
        patience: fc.integer({ min: 1, max: 40 }),
      }),
    },
    { weight: 6, arbitrary: fc.record({ kind: fc.constant('release' as const), index: fc.nat(20) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('leave' as const), index: fc.nat(20) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('return' as const), index: fc.nat(20) }) },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constant('tell' as const),
        id: fc.constantFrom('a', 'b', 'c'),
        event: fc.constantFrom('passed', 'failed', 'lost', 'leaving', 'loading'),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ kind: fc.constant('hold' as const), id: fc.constantFrom('a', 'b', 'c') }),
    },
    {
      weight: 2,
      arbitrary: fc.record({ kind: fc.constant('time' as const), ms: fc.integer({ min: 1, max: 30 }) }),
    },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 80 }), async (steps) => {
      const { pool, dispatch, clock, enter } = fleet(
        [{ id: 'a' }, { id: 'b', slots: 2 }, { id: 'c', slots: 3 }],
        5,
      );
      const held: { claim: Claim; arrivedAt: number; deadlineAt: number }[] = [];
      const tickets: { ticket: Ticket; ended: number; left: boolean }[] = [];
      let entered = 0;
      const settle = () => new Promise((resolve) => setImmediate(resolve));
      const take = (arrivedAt: number, deadlineAt: number, returning: boolean) => {
        let ticket: Ticket;
        try {
          ticket = enter({ arrivedAt, deadlineAt, returning });
        } catch (error) {
          assert.ok(error instanceof ToonError);
          return;
        }
        entered += 1;
        const mine = { ticket, ended: 0, left: false };
        tickets.push(mine);
        ticket.claim.then(
          (claim) => {
            mine.ended += 1;
            if (mine.left) return;
            assert.ok(deadlineAt > clock.now, 'started after its deadline');
            held.push({ claim, arrivedAt, deadlineAt });
          },
          (error: unknown) => {
            mine.ended += 1;
            assert.ok(error instanceof ToonError);
          },
        );
      };
      for (const each of steps) {
        switch (each.kind) {
          case 'enter':
            take(clock.now++, clock.now + each.patience, false);
            break;
          case 'release':
            held.splice(each.index % Math.max(1, held.length), 1)[0]?.claim.release();
            break;
          case 'leave': {
            const mine = tickets[each.index % Math.max(1, tickets.length)];
            if (mine && mine.ended === 0) {
              mine.left = true;
              mine.ticket.leave();
            }
            break;
          }
          case 'return': {
            const back = held.splice(each.index % Math.max(1, held.length), 1)[0];
            if (!back) break;
            back.claim.release();
            take(back.arrivedAt, back.deadlineAt, true);
            break;
          }
          case 'tell':
            pool.tell(each.id, { kind: each.event as 'passed' });
            break;
          case 'hold':
            dispatch.stirAt(pool.hold(each.id));
            break;
          case 'time':
            clock.now += each.ms;
            dispatch.stir();
            break;
        }
        for (const { taken, slots } of pool.upstreams()) assert.ok(taken >= 0 && taken <= slots);
        await settle();
        assert.ok(dispatch.queued <= 5 + held.length + tickets.length);
      }
      for (const { claim } of held.splice(0)) claim.release();
      for (const mine of tickets) {
        if (mine.ended > 0) continue;
        mine.left = true;
        mine.ticket.leave();
      }
      await settle();
      for (const { claim } of held.splice(0)) claim.release();
      for (const mine of tickets) assert.equal(mine.ended, 1);
      assert.equal(dispatch.queued, 0);
      for (const { taken } of pool.upstreams()) assert.equal(taken, 0);
      assert.ok(entered >= tickets.length);
    }),
    { numRuns: 150 },
  );
});

test('what cannot finish by the backlog is refused at once, and says when to come back', async () => {
  const { enter, clock } = fleet([{ id: 'a' }]);
  const work = { ...WANT, expectedMs: 400 };
  await enter({ want: work }).claim;
  const waiting = enter({ want: work });
  waiting.claim.catch(() => {});
  assert.throws(
    () => enter({ want: work, deadlineAt: clock.now + 1000 }),
    (error: unknown) => {
      assert.ok(error instanceof ToonError && error.code === 'overloaded' && error.cause === 'hopeless');
      assert.ok((error.details.retryAfterMs ?? 0) >= 700);
      return true;
    },
  );
  enter({ want: work, deadlineAt: clock.now + 1300 }).claim.catch(() => {});
  waiting.leave();
});

test('on an idle fleet everything is tried, so that a wrong expectation can be unlearnt', async () => {
  const { enter, clock } = fleet([{ id: 'a' }]);
  await enter({ want: { ...WANT, expectedMs: 5000 }, deadlineAt: clock.now + 100 }).claim;
});

test('one that waits is refused as soon as it can no longer finish, not at its deadline', async () => {
  const { enter, clock, dispatch } = fleet([{ id: 'a' }]);
  await enter({ want: { ...WANT, expectedMs: 100 } }).claim;
  const waiting = enter({ want: { ...WANT, expectedMs: 300 }, deadlineAt: clock.now + 500 });
  clock.now += 210;
  const refused = assert.rejects(waiting.claim, code('overloaded'));
  dispatch.stir();
  await refused;
});

test('a preemptible node gets only batch work', async () => {
  const { enter, pool } = fleet([{ id: 'a' }, { id: 'b' }]);
  pool.put({ id: 'a', target: target('a'), node: 'n1', slots: 1, nodeDraining: false, preemptible: true });
  assert.equal((await enter().claim).upstream.id, 'b');
  const live = enter();
  assert.equal((await enter({ want: { ...WANT, priority: 'batch' } }).claim).upstream.id, 'a');
  live.claim.catch(() => {});
  live.leave();
  pool.tell('b', { kind: 'lost' });
  assert.throws(() => enter(), code('no_upstream'));
});

test('a worker that measured fast is preferred, first by its agent and then by our own measure', async () => {
  const { enter, pool } = fleet([{ id: 'a' }, { id: 'b' }]);
  const facts = (id: string, rate: number) =>
    pool.put({ id, target: target(id), node: id, slots: 1, nodeDraining: false, msPerMegapixel: rate });
  facts('a', 300);
  facts('b', 900);
  const first = await enter().claim;
  assert.equal(first.upstream.id, 'a');
  first.release();
  for (let i = 0; i < 20; i++) pool.learnPace('a', 400, 100);
  for (let i = 0; i < 20; i++) pool.learnPace('b', 100, 100);
  assert.equal((await enter().claim).upstream.id, 'b');
});

// A whole fleet on a clock of our own: a burst, then usual traffic, and every refused client comes back when it was told.
for (const { name, slots, serviceMs, patienceMs, usual } of [
  { name: 'one slow slot', slots: 1, serviceMs: 1000, patienceMs: 8000, usual: 0 },
  { name: 'eight slots and a short deadline', slots: 8, serviceMs: 100, patienceMs: 1000, usual: 0 },
  { name: 'eight slots under usual traffic', slots: 8, serviceMs: 100, patienceMs: 1500, usual: 0.45 },
  {
    name: 'two slots, large pictures, usual traffic',
    slots: 2,
    serviceMs: 400,
    patienceMs: 5000,
    usual: 0.4,
  },
])
  test(`Retry-After is true (${name}): of 200 refused clients at least 180 are let in`, async () => {
    const { enter, clock } = fleet([{ id: 'a', slots }], 100_000);
    const due: { at: number; run: () => void }[] = [];
    const at = (time: number, run: () => void) => due.push({ at: time, run });
    const returns: boolean[] = [];
    const come = (back: boolean) => {
      const refused = (error: unknown) => {
        assert.ok(error instanceof ToonError && error.code === 'overloaded');
        if (back) returns.push(false);
        else if (told++ < 200)
          at(clock.now + Math.ceil((error.details.retryAfterMs ?? 0) / 1000) * 1000, () => come(true));
      };
      try {
        enter({
          want: { ...WANT, expectedMs: serviceMs },
          arrivedAt: clock.now,
          deadlineAt: clock.now + patienceMs,
        }).claim.then(({ release }) => {
          if (back) returns.push(true);
          at(clock.now + serviceMs, release);
        }, refused);
      } catch (error) {
        refused(error);
      }
    };
    let told = 0;
    const start = clock.now;
    const room = (slots * patienceMs) / serviceMs;
    for (let i = 0; i < 200 + room; i++) at(start, () => come(false));
    const gap = serviceMs / slots / usual;
    for (let time = gap; time < 120_000 && usual > 0; time += gap)
      at(start + time, () => {
        const before = told;
        told = 200; // Who is refused now is not followed.
        come(false);
        told = Math.max(before, 200);
      });
    while (returns.length < 200) {
      due.sort((a, b) => a.at - b.at);
      const next = due.shift();
      assert.ok(next, `${returns.length} have come back`);
      clock.now = Math.max(clock.now, next.at);
      next.run();
      await new Promise((resolve) => setImmediate(resolve));
    }
    const admitted = returns.filter(Boolean).length;
    assert.ok(admitted >= 180, `${admitted} of 200`);
  });

test('who can be drawn with less is let in where the whole would be hopeless, and waits until the least would be', async () => {
  const { enter, clock, dispatch } = fleet([{ id: 'a' }]);
  const first = await enter({ want: { ...WANT, expectedMs: 300 } }).claim;
  const whole = { ...WANT, expectedMs: 500 };
  const deadlineAt = clock.now + 600;
  assert.throws(() => enter({ want: whole, deadlineAt }), code('overloaded'));
  const less = enter({ want: { ...whole, leastMs: 50 }, deadlineAt });
  clock.now += 400;
  first.release();
  const claim = await less.claim;
  claim.release();
  await enter().claim;
  const late = enter({ want: { ...whole, leastMs: 50 }, deadlineAt: clock.now + 600 });
  clock.now += 560;
  dispatch.stir('fleet');
  await assert.rejects(late.claim, code('overloaded'));
});

test('who could not even be drawn with the least is refused at once', async () => {
  const { enter, clock } = fleet([{ id: 'a' }]);
  await enter({ want: { ...WANT, expectedMs: 1000 } }).claim;
  const want = { ...WANT, expectedMs: 600, leastMs: 50 };
  assert.throws(() => enter({ want, deadlineAt: clock.now + 600 }), code('overloaded'));
});
