import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import type { WorkerReport, WorkerState } from '../../config/contract.ts';
import { GONE_MS, LATE_MS, Roster, SETTLED_MS } from './roster.ts';

const WINDOW = 3_000;
const NODE = { node: 'vm-1', zone: 'a', release: '1', preemptible: false };

const worker = (
  id: string,
  state: WorkerState = 'ready',
  more: Partial<WorkerReport> = {},
): WorkerReport => ({
  id,
  pid: 7,
  url: 'http://127.0.0.1:8100',
  slots: 1,
  state,
  models: ['meadow'],
  busy: 0,
  ms_per_megapixel: null,
  rss_bytes: 1,
  event_loop_lag_ms: 0,
  ...more,
});

test('a worker stands on the roster from its first announcement to its goodbye', () => {
  const roster = new Roster(0, WINDOW);
  assert.equal(roster.announce(worker('a', 'loading'), 0), true);
  assert.equal(roster.announce(worker('a', 'ready'), 10), false, 'a new state is no new worker');
  assert.deepEqual(
    roster.view(NODE).workers.map(({ id, state }) => [id, state]),
    [['a', 'ready']],
  );
  assert.equal(roster.leave('a'), true);
  assert.deepEqual(roster.view(NODE).workers, []);
});

test('the roster that balancers read carries no figures of the process', () => {
  const roster = new Roster(0, WINDOW);
  roster.announce(worker('a'), 0);
  assert.deepEqual(Object.keys(roster.view(NODE).workers[0] ?? {}).sort(), [
    'busy',
    'id',
    'models',
    'ms_per_megapixel',
    'pid',
    'slots',
    'state',
    'url',
  ]);
});

test('a state is seen once every balancer that asks has been given it', () => {
  const roster = new Roster(0, WINDOW);
  roster.announce(worker('a'), 0);
  roster.given('one', roster.version, 10);
  roster.given('two', roster.version, 10);
  assert.equal(roster.seen('a', 20), true);

  roster.announce(worker('a', 'draining'), 30);
  assert.equal(roster.seen('a', 30), false, 'nobody knows yet');
  roster.given('one', roster.version, 40);
  assert.equal(roster.seen('a', 40), false, 'two still sends pictures there');
  roster.given('two', roster.version, 50);
  assert.equal(roster.seen('a', 50), true);
});

test('an answer that was on its way when the state changed does not count', () => {
  const roster = new Roster(0, WINDOW);
  roster.announce(worker('a'), 0);
  const onItsWay = roster.version;
  roster.announce(worker('a', 'draining'), 1);
  roster.given('one', onItsWay, 2);
  assert.equal(roster.seen('a', 3), false);
});

test('a heartbeat that says nothing new does not have to be seen again', () => {
  const roster = new Roster(0, WINDOW);
  roster.announce(worker('a'), 0);
  roster.given('one', roster.version, 10);
  roster.announce(worker('a', 'ready', { busy: 1, rss_bytes: 5 }), 1_000);
  assert.equal(roster.seen('a', 1_001), true);
});

test('a balancer that stopped asking is not waited for', () => {
  const roster = new Roster(0, WINDOW);
  roster.given('gone', 0, 0);
  roster.given('alive', 0, 0);
  roster.announce(worker('a'), 100);
  roster.given('alive', roster.version, WINDOW);
  assert.equal(roster.seen('a', WINDOW), false);
  assert.equal(roster.seen('a', WINDOW + 1), true);
});

test('a young agent that nobody has asked says no; an old one has no balancers and says yes', () => {
  const roster = new Roster(1_000, WINDOW);
  roster.announce(worker('a'), 1_000);
  assert.equal(roster.seen('a', 1_000 + WINDOW - 1), false);
  assert.equal(roster.seen('a', 1_000 + WINDOW), true);
});

test('a worker that nobody announced is not seen', () => {
  assert.equal(new Roster(0, WINDOW).seen('a', 100_000), false);
});

const probes: { name: string; probe: Parameters<Roster['probed']>[1]; at: number; gone: boolean }[] = [
  {
    name: 'a late worker whose port refuses is gone',
    probe: { kind: 'refused' },
    at: LATE_MS + 1,
    gone: true,
  },
  {
    name: 'a refusal is nothing when it beat meanwhile',
    probe: { kind: 'refused' },
    at: LATE_MS,
    gone: false,
  },
  { name: 'a silent worker is given time', probe: { kind: 'silent' }, at: GONE_MS, gone: false },
  { name: 'but not for ever', probe: { kind: 'silent' }, at: GONE_MS + 1, gone: true },
  {
    name: 'a late worker that answers stays',
    probe: { kind: 'answered', report: worker('a') },
    at: 60_000,
    gone: false,
  },
];
for (const { name, probe, at, gone } of probes) {
  test(name, () => {
    const roster = new Roster(0, WINDOW);
    roster.announce(worker('a'), 0);
    assert.equal(roster.probed('a', probe, at), gone);
    assert.equal(roster.reports().length, gone ? 0 : 1);
    if (probe.kind === 'answered')
      assert.deepEqual(roster.late(at + LATE_MS), [], 'an answer is as good as a beat');
  });
}

test('only overdue workers are asked', () => {
  const roster = new Roster(0, WINDOW);
  roster.announce(worker('a'), 0);
  roster.announce(worker('b'), 1_000);
  assert.deepEqual(
    roster.late(LATE_MS + 1).map(({ id }) => id),
    ['a'],
  );
});

test('whatever happens, "seen" never runs ahead of the balancers', () => {
  const step = fc.oneof(
    fc.record({
      kind: fc.constant('announce' as const),
      state: fc.constantFrom('loading', 'ready', 'draining'),
    }),
    fc.record({ kind: fc.constant('ask' as const), balancer: fc.constantFrom('one', 'two') }),
    fc.record({ kind: fc.constant('wait' as const), ms: fc.integer({ min: 0, max: 4_000 }) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const roster = new Roster(0, WINDOW);
      const told = new Map<string, { state: WorkerState | undefined; at: number }>();
      let now = WINDOW;
      let state: WorkerState | undefined;
      for (const next of steps) {
        if (next.kind === 'wait') now += next.ms;
        if (next.kind === 'announce') {
          state = next.state as WorkerState;
          roster.announce(worker('a', state), now);
        }
        if (next.kind === 'ask') {
          roster.given(next.balancer, roster.version, now);
          told.set(next.balancer, { state: roster.reports()[0]?.state, at: now });
        }
        if (state === undefined) continue;
        const lately = [...told.values()].filter(({ at }) => now - at <= WINDOW);
        if (roster.seen('a', now)) assert.ok(lately.every((asker) => asker.state === state));
      }
    }),
  );
});

test('one tired worker at a time may rest, and only while nobody of the node is missing or new', () => {
  const roster = new Roster(0, WINDOW);
  const tired = { tired: true };
  const later = (from: number) => from + SETTLED_MS;
  const may = (now: number) => ['a', 'b', 'c'].filter((id) => roster.mayRest(id, 2, now));
  roster.announce(worker('a', 'ready', tired), 0);
  assert.deepEqual(may(later(0)), [], 'the other one is missing');
  roster.announce(worker('b', 'ready', tired), 0);
  assert.deepEqual(may(later(0) - 1), [], 'balancers may not use both yet');
  assert.deepEqual(may(later(0)), ['a']);
  roster.announce(worker('a', 'draining', tired), later(0));
  assert.deepEqual(may(1e6), [], 'a is on its way out');
  roster.leave('a');
  assert.deepEqual(may(1e6), [], 'nobody has come for a yet');
  roster.announce(worker('c', 'loading'), 1e6);
  assert.deepEqual(may(2e6), [], 'c does not draw yet');
  roster.announce(worker('c', 'ready'), 2e6);
  assert.deepEqual(may(later(2e6) - 1), [], 'c is new');
  assert.deepEqual(may(later(2e6)), ['b']);
});
