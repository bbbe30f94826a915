import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import type { TrafficReply } from '../../config/admin.ts';
import type { Release } from '../release/release.ts';
import {
  ageOf,
  alternate,
  canaryEnd,
  judgeBake,
  judgeCanary,
  judgeLock,
  type Lock,
  type NodeFound,
  next,
  type Outcome,
  planRollback,
  planRollout,
  type Turn,
} from './plan.ts';

const release = (id: string, version = '1.0.0', built_at = '2026-01-01T00:00:00Z'): Release => ({
  id,
  version,
  commit: 'a'.repeat(40),
  built_at,
  node: '20.20.0',
  platform: 'linux-x64',
});
const OLD = release('old', '1.0.0');
const NEW = release('new', '1.1.0');

const found = (name: string, more: Partial<NodeFound> = {}): NodeFound => ({
  name,
  zone: 'a',
  serving: 'old',
  draining: false,
  current: 'old',
  previous: '',
  releases: [OLD],
  lock: null,
  ...more,
});

const lock: Lock = {
  key: 'a key of a run',
  host: 'front',
  pid: 7,
  user: 'ops',
  doing: 'rollout of new',
  started_at: '2026-01-01T00:00:00Z',
  drained_before: false,
};

const ages: [one: Release, other: Release, is: ReturnType<typeof ageOf>][] = [
  [NEW, OLD, 'newer'],
  [OLD, NEW, 'older'],
  [release('x', '1.10.0'), release('y', '1.9.0'), 'newer'],
  [release('x', '1.0.0-rc.1'), release('y', '1.0.0'), 'older'],
  [release('x', '1.0.0-rc.2'), release('y', '1.0.0-rc.10'), 'older'],
  [release('x', '1.0.0', '2026-01-02T00:00:00Z'), OLD, 'newer'],
  [release('x'), release('y'), 'same'],
  [OLD, { ...NEW, id: 'old' }, 'same'],
];
for (const [one, other, is] of ages)
  test(`${one.version} (${one.built_at}) is ${is} beside ${other.version}`, () =>
    assert.equal(ageOf(one, other), is));

test('the nodes alternate between zones, and are all there once', () => {
  const zone = fc.constantFrom('a', 'b', 'c');
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.nat(99), { maxLength: 12 }),
      fc.array(zone, { minLength: 12, maxLength: 12 }),
      (numbers, zones) => {
        const nodes = numbers.map((number, index) => ({ name: `vm-${number}`, zone: zones[index] ?? 'a' }));
        const order = alternate(nodes);
        assert.deepEqual(order.map(({ name }) => name).sort(), nodes.map(({ name }) => name).sort());
        const most = Math.max(
          0,
          ...['a', 'b', 'c'].map((each) => nodes.filter(({ zone }) => zone === each).length),
        );
        const neighbours = order.filter((node, index) => order[index - 1]?.zone === node.zone).length;
        // One zone alone may have more than all others and their gaps together.
        assert.equal(neighbours, Math.max(0, 2 * most - nodes.length - 1));
      },
    ),
  );
});

test('within a zone the nodes come by their numbers', () => {
  const order = alternate(['vm-10', 'vm-2', 'vm-1'].map((name) => ({ name, zone: 'a' })));
  assert.deepEqual(
    order.map(({ name }) => name),
    ['vm-1', 'vm-2', 'vm-10'],
  );
});

test('a rollout leaves nodes alone that have the release and serve it', () => {
  const plan = planRollout(
    NEW,
    [
      found('vm-1', { current: 'new', serving: 'new', releases: [NEW] }),
      found('vm-2', { previous: 'older' }),
    ],
    { allowOlder: false },
  );
  assert.deepEqual(plan, {
    kind: 'turns',
    turns: [{ node: 'vm-2', to: 'new', from: 'old', previous: 'older', keepDrained: false }],
    left: ['vm-1'],
  });
});

test('a node whose rollout died after the switch is done again, and its way back is the release before', () => {
  const died = found('vm-1', { current: 'new', previous: 'old', serving: 'old', draining: true, lock });
  const plan = planRollout(NEW, [died], { allowOlder: false });
  assert.ok(plan.kind === 'turns');
  assert.deepEqual(plan.turns, [{ node: 'vm-1', to: 'new', from: 'old', previous: '', keepDrained: false }]);
});

test('a node that an operator had drained stays drained', () => {
  const plan = planRollout(NEW, [found('vm-1', { draining: true })], { allowOlder: false });
  assert.equal(plan.kind === 'turns' && plan.turns[0]?.keepDrained, true);
});

test('an older release is refused, with what to do, unless it is meant', () => {
  const nodes = [found('vm-1', { current: 'new', serving: 'new', releases: [NEW] }), found('vm-2')];
  const plan = planRollout(OLD, nodes, { allowOlder: false });
  assert.ok(plan.kind === 'refused');
  assert.match(plan.sentence, /older than new .* on vm-1\. .*toonfleet rollback.*--allow-older/);
  assert.equal(planRollout(OLD, nodes, { allowOlder: true }).kind, 'turns');
});

test('when every node has it there is nothing to do', () => {
  assert.equal(planRollout(OLD, [found('vm-1')], { allowOlder: false }).kind, 'nothing');
});

test('a rollback takes a rollout back that stopped half-way, where it came to and nowhere else', () => {
  const both = [OLD, NEW, release('older', '0.9.0')];
  const plan = planRollback([
    found('vm-1', { current: 'new', previous: 'old', serving: 'new', releases: both }),
    found('vm-2', { previous: 'older', releases: both }),
  ]);
  assert.ok(plan.kind === 'turns');
  assert.deepEqual(plan.turns, [
    { node: 'vm-1', to: 'old', from: 'new', previous: 'old', keepDrained: false },
  ]);
  assert.deepEqual(plan.left, ['vm-2']);
});

test('a rollback to a release needs it on every node', () => {
  const plan = planRollback([found('vm-1', { releases: [OLD, NEW] }), found('vm-2')], 'new');
  assert.ok(plan.kind === 'refused');
  assert.match(plan.sentence, /new is not on vm-2/);
});

test('without a release before there is nowhere to go back to', () => {
  const plan = planRollback([found('vm-1')]);
  assert.ok(plan.kind === 'refused');
  assert.match(plan.sentence, /vm-1 had no release before old/);
});

const turns: Turn[] = ['vm-1', 'vm-2', 'vm-3'].map((node) => ({
  node,
  to: 'new',
  from: 'old',
  previous: '',
  keepDrained: false,
}));
const done = (node: string): Outcome => ({ kind: 'done', node, seconds: 1 });

test('the first node that is not good ends it, and whatever came before or after says what is where', () => {
  const bad = fc.oneof(
    fc.record({
      kind: fc.constant('failed' as const),
      step: fc.constantFrom(
        'room',
        'copy',
        'unpack',
        'preflight',
        'drain',
        'restart',
        'ready',
        'bake',
        'else',
      ),
      sentence: fc.constant('it did not'),
      left: fc.constantFrom('untouched' as const, 'back' as const, 'kept' as const, 'out' as const),
    }),
    fc.record({ kind: fc.constant('unreachable' as const), sentence: fc.constant('refused') }),
  );
  fc.assert(
    fc.property(fc.nat(2), bad, (before, outcome) => {
      const names = turns.map(({ node }) => node);
      const node = names[before] ?? '';
      const after = next(turns, [...names.slice(0, before).map(done), { ...outcome, node }]);
      assert.ok(after.kind === 'stopped');
      const text = after.sentences.join('\n');
      assert.match(text, new RegExp(`^${node} `));
      assert.match(text, /Next: /);
      if (before > 0)
        assert.ok(text.includes(`Done and left as they are: ${names.slice(0, before).join(', ')}.`));
      if (before < 2) assert.ok(text.includes(`Not touched: ${names.slice(before + 1).join(', ')}.`));
    }),
  );
});

test('a rollback is advised only where it would leave the new release', () => {
  const back = (node: string): Outcome => ({
    kind: 'failed',
    node,
    step: 'ready',
    sentence: 'it did not',
    left: 'back',
  });
  const textOf = (outcomes: Outcome[]) => {
    const after = next(turns, outcomes);
    return after.kind === 'stopped' ? after.sentences.join('\n') : '';
  };
  assert.doesNotMatch(textOf([back('vm-1')]), /toonfleet rollback/);
  assert.match(textOf([done('vm-1'), back('vm-2')]), /take back what is done: toonfleet rollback/);
});

test('a canary of which the balancer says nothing is not taken for a good one', () => {
  assert.equal(judgeCanary(undefined, 'new').kind, 'bad');
  assert.match(judgeCanary(undefined, 'new').sentence, /does not say/);
});

const watched = {
  weights: { old: 90, new: 10 },
  rollback: { max_error_ratio: 0.05, max_latency_ratio: 1.5, min_requests: 50 },
  rolled_back: null,
};
const gone = {
  release: 'new',
  reason: 'errors',
  sentence: 'it failed more often',
  at: '2026-01-01T00:00:00Z',
};
const canaries: [what: string, told: TrafficReply, kind: string, sentence: RegExp][] = [
  ['that went by itself', { ...watched, rolled_back: gone }, 'bad', /^it failed more often$/],
  [
    'that drew enough',
    { ...watched, seen: { new: { attempts: 50, faults: 1 } } },
    'good',
    /^nothing speaks against the canary: 1 of 50 attempts failed$/,
  ],
  [
    'that got no picture',
    { ...watched, seen: { old: { attempts: 900, faults: 0 } } },
    'unjudged',
    /^nothing was shown of the canary: no picture came to it while it baked/,
  ],
  [
    'that got a few',
    { ...watched, seen: { new: { attempts: 49, faults: 0 } } },
    'unjudged',
    /^the canary is not judged: 0 of only 49 attempts failed.*from 50 on/,
  ],
  ['of which an older balancer tells no counts', watched, 'unjudged', /^the canary is not judged: .*restart/],
];
for (const [what, told, kind, sentence] of canaries)
  test(`a canary ${what} is ${kind}, and that is what is said`, () => {
    const verdict = judgeCanary(told, 'new');
    assert.equal(verdict.kind, kind);
    assert.match(verdict.sentence, sentence);
  });

test('a canary that could not be brought back is told as what it is: the release that serves, or nothing', () => {
  const turn = turns.slice(0, 1);
  const failed = (left: 'untouched' | 'back' | 'out'): Outcome => ({
    kind: 'failed',
    node: 'vm-1',
    step: 'drain',
    sentence: 'too few would stay',
    left,
  });
  const textOf = (returned: Outcome) => {
    const after = next(turn, [canaryEnd('it is slow.', returned)]);
    return after.kind === 'stopped' ? after.sentences.join('\n') : '';
  };
  assert.match(
    textOf(done('vm-1')),
    /^vm-1 failed at "bake": it is slow\.\n.*put back to release old by itself/,
  );
  // Refused, or put back to where it came from: the canary's release.
  for (const left of ['untouched', 'back'] as const) {
    const text = textOf(failed(left));
    assert.match(text, /it is slow\. The way back failed at "drain": too few would stay\n/);
    assert.match(text, /could not be brought back to release old, so it serves release new\./);
    assert.match(text, /Next: .*toonfleet rollback --only vm-1\.$/);
  }
  assert.match(textOf(failed('out')), /it is drained and serves nothing/);
  assert.match(textOf({ kind: 'unreachable', node: 'vm-1', sentence: 'timed out' }), /not known from here/);
});

test('good nodes follow one another until all are done, or somebody says stop', () => {
  assert.deepEqual(next(turns, []), { kind: 'turn', turn: turns[0] });
  assert.deepEqual(next(turns, [done('vm-1')]), { kind: 'turn', turn: turns[1] });
  assert.equal(
    next(
      turns,
      turns.map(({ node }) => done(node)),
    ).kind,
    'finished',
  );
  assert.equal(next(turns, [done('vm-1')], true).kind, 'stopped');
});

const HOUR = 3_600_000;
const locks: [string, Lock | null, boolean | undefined, string, ReturnType<typeof judgeLock>][] = [
  ['no lock', null, undefined, '2026-01-01T00:00:00Z', 'free'],
  ['a process of this machine that runs, however old', lock, true, '2026-01-09T00:00:00Z', 'held'],
  ['a process of this machine that is gone', lock, false, '2026-01-01T00:00:01Z', 'dead'],
  ['a young lock of another machine', lock, undefined, '2026-01-01T00:59:00Z', 'held'],
  ['an old lock of another machine', lock, undefined, '2026-01-01T01:00:01Z', 'dead'],
];
for (const [what, given, alive, now, verdict] of locks)
  test(`${what} is ${verdict}`, () => assert.equal(judgeLock(given, alive, new Date(now), HOUR), verdict));

const LIMITS = { maxErrors: 0.02, maxSlower: 2 };
const bakes: [
  string,
  Parameters<typeof judgeBake>[0],
  Parameters<typeof judgeBake>[1],
  RegExp | undefined,
][] = [
  ['nothing drawn says nothing', { pictures: 0, failed: 0, meanMs: 0 }, [], undefined],
  ['one failure is bad luck', { pictures: 3, failed: 1, meanMs: 50 }, [], undefined],
  ['two failures of few are too many', { pictures: 3, failed: 2, meanMs: 50 }, [], /2 of 5 pictures failed/],
  ['two of a thousand are few', { pictures: 998, failed: 2, meanMs: 50 }, [], undefined],
  [
    'slow beside the others',
    { pictures: 50, failed: 0, meanMs: 201 },
    [{ pictures: 50, failed: 0, meanMs: 100 }],
    /201 ms .* 100 ms/,
  ],
  [
    'slow where the others drew too little to be compared',
    { pictures: 50, failed: 0, meanMs: 900 },
    [{ pictures: 5, failed: 0, meanMs: 100 }],
    undefined,
  ],
  ['slow alone', { pictures: 50, failed: 0, meanMs: 900 }, [], undefined],
];
for (const [what, node, others, fault] of bakes)
  test(`bake: ${what}`, () => {
    const found = judgeBake(node, others, LIMITS);
    if (fault === undefined) assert.equal(found, undefined);
    else assert.match(found ?? '', fault);
  });
