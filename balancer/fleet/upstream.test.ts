import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { JOINING, next, takesWork, type UpstreamEvent, type UpstreamState } from './upstream.ts';

const COUNTS = { rise: 2, fall: 3 };
const after = (...kinds: UpstreamEvent['kind'][]): UpstreamState =>
  kinds.reduce<UpstreamState>((state, kind) => next(state, { kind }, COUNTS), JOINING);

const cases: { name: string; events: UpstreamEvent['kind'][]; ends: UpstreamState['kind'] }[] = [
  { name: 'a new worker is used after its first passing check', events: ['passed'], ends: 'up' },
  {
    name: 'a new worker that does not answer is not ejected, since it was never in',
    events: ['failed', 'refused', 'lost'],
    ends: 'joining',
  },
  { name: 'two failed checks do not eject', events: ['passed', 'failed', 'failed'], ends: 'up' },
  {
    name: 'three failed checks in a row eject',
    events: ['passed', 'failed', 'failed', 'failed'],
    ends: 'ejected',
  },
  {
    name: 'a passing check between failed ones starts the count again',
    events: ['passed', 'failed', 'failed', 'passed', 'failed', 'failed'],
    ends: 'up',
  },
  { name: 'one lost connection ejects', events: ['passed', 'lost'], ends: 'ejected' },
  { name: 'one refused connection ejects', events: ['passed', 'refused'], ends: 'ejected' },
  { name: 'one passing check does not readmit', events: ['passed', 'lost', 'passed'], ends: 'ejected' },
  { name: 'two passing checks readmit', events: ['passed', 'lost', 'passed', 'passed'], ends: 'up' },
  {
    name: 'passing checks must be in a row to readmit',
    events: ['passed', 'lost', 'passed', 'failed', 'passed'],
    ends: 'ejected',
  },
  {
    name: 'another lost connection starts the way back again',
    events: ['passed', 'lost', 'passed', 'lost', 'passed'],
    ends: 'ejected',
  },
  { name: 'a leaving worker drains', events: ['passed', 'leaving'], ends: 'draining' },
  {
    name: 'a worker that loads again was restarted and joins anew',
    events: ['passed', 'loading'],
    ends: 'joining',
  },
  {
    name: 'a leaving worker that is called back is used again',
    events: ['passed', 'leaving', 'passed', 'passed'],
    ends: 'up',
  },
  {
    name: 'a check that was under way when it said goodbye does not call it back',
    events: ['passed', 'leaving', 'passed'],
    ends: 'draining',
  },
  { name: 'a draining worker that dies is ejected', events: ['passed', 'leaving', 'lost'], ends: 'ejected' },
  {
    name: 'a removed worker is gone, whatever comes later',
    events: ['passed', 'removed', 'passed', 'loading', 'leaving'],
    ends: 'gone',
  },
];
for (const { name, events, ends } of cases) test(name, () => assert.equal(after(...events).kind, ends));

test('the reason of an ejection is kept', () => {
  assert.deepEqual(after('passed', 'refused'), { kind: 'ejected', reason: 'connection_refused', passed: 0 });
  assert.deepEqual(after('passed', 'lost'), { kind: 'ejected', reason: 'connection_lost', passed: 0 });
  assert.deepEqual(after('passed', 'failed', 'failed', 'failed'), {
    kind: 'ejected',
    reason: 'checks_failed',
    passed: 0,
  });
});

const events = fc.array(
  fc.constantFrom<UpstreamEvent['kind']>(
    'passed',
    'failed',
    'refused',
    'lost',
    'loading',
    'leaving',
    'removed',
  ),
  { maxLength: 30 },
);

test('only an upstream that is up takes work, and it never got there by a bad event', () => {
  fc.assert(
    fc.property(events, (kinds) => {
      let state: UpstreamState = JOINING;
      for (const kind of kinds) {
        const before = state;
        state = next(before, { kind }, COUNTS);
        if (takesWork(state) && !takesWork(before)) assert.equal(kind, 'passed');
      }
    }),
  );
});

test('passing checks bring back whatever is not gone', () => {
  fc.assert(
    fc.property(events, (kinds) => {
      const state = after(...kinds, 'passed', 'passed');
      assert.ok(takesWork(state) || kinds.includes('removed'));
    }),
  );
});
