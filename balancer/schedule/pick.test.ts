import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { type Candidate, NOWHERE, pick } from './pick.ts';

const PLAIN = { pace: undefined, nearby: true, warmth: 1 };
const worker = (id: string, node: string | undefined, taken: number, slots = 4): Candidate => ({
  id,
  node,
  taken,
  slots,
  ...PLAIN,
});
const tried = (upstreams: string[], nodes: string[] = []) => ({
  upstreams: new Set(upstreams),
  nodes: new Set(nodes),
});
/** Draws in the order in which they were written. */
const scripted =
  (...draws: number[]) =>
  () =>
    draws.shift() ?? 0.5;

test('the least loaded worker is chosen, by its slots', () => {
  const chosen = pick(
    [worker('a', 'n1', 2), worker('b', 'n2', 1), worker('c', 'n3', 1, 8)],
    NOWHERE,
    scripted(),
  );
  assert.equal(chosen?.id, 'c');
});

test('nobody is chosen when there is nobody', () => {
  assert.equal(pick([], NOWHERE, scripted()), undefined);
});

test('a worker that was tried is not chosen again', () => {
  assert.equal(pick([worker('a', 'n1', 0)], tried(['a']), scripted()), undefined);
});

test('another node is preferred over a tried one, even when it has more to do', () => {
  const workers = [worker('a2', 'n1', 0), worker('b', 'n2', 3)];
  assert.equal(pick(workers, tried(['a1'], ['n1']), scripted())?.id, 'b');
});

test('another worker of a tried node is better than none', () => {
  assert.equal(pick([worker('a2', 'n1', 3)], tried(['a1'], ['n1']), scripted())?.id, 'a2');
});

test('ties are decided by lot', () => {
  const workers = [worker('a', 'n1', 0), worker('b', 'n2', 0), worker('c', 'n3', 0)];
  // The first draw decides whether paces count.
  assert.equal(pick(workers, NOWHERE, scripted(0.5, 0.9, 0.9))?.id, 'a');
  assert.equal(pick(workers, NOWHERE, scripted(0.5, 0.1, 0.9))?.id, 'b');
  assert.equal(pick(workers, NOWHERE, scripted(0.5, 0.9, 0.1))?.id, 'c');
});

test('every tied worker has the same chance', () => {
  const workers = ['a', 'b', 'c', 'd'].map((id) => worker(id, id, 0));
  const counts = new Map<string, number>();
  let seed = 1;
  const random = () => {
    seed = (seed * 48271) % 2147483647;
    return seed / 2147483647;
  };
  for (let i = 0; i < 4000; i++) {
    const id = pick(workers, NOWHERE, random)?.id ?? '';
    counts.set(id, (counts.get(id) ?? 0) + 1);
  }
  for (const count of counts.values()) assert.ok(count > 900 && count < 1100, String(count));
});

test('no untried worker of an untried node has less to do than the chosen one', () => {
  const workers = fc.array(
    fc.record({
      id: fc.integer({ min: 0, max: 50 }).map(String),
      node: fc.constantFrom('n1', 'n2', 'n3', undefined),
      slots: fc.integer({ min: 2, max: 4 }),
      taken: fc.integer({ min: 0, max: 1 }),
    }),
    { maxLength: 10 },
  );
  const ids = fc.array(fc.integer({ min: 0, max: 50 }).map(String));
  fc.assert(
    fc.property(
      workers,
      ids,
      fc.subarray(['n1', 'n2']),
      fc.double({ min: 0, max: 0.999, noNaN: true }),
      (all, upstreams, nodes, draw) => {
        const was = tried(upstreams, nodes);
        const chosen = pick(
          all.map((each) => ({ ...each, ...PLAIN })),
          was,
          () => draw,
        );
        const open = all.filter(({ id }) => !was.upstreams.has(id));
        assert.equal(chosen === undefined, open.length === 0);
        if (!chosen) return;
        const better = open.filter(
          ({ node, taken, slots }) =>
            (node === undefined || !was.nodes.has(node)) &&
            (taken / slots < chosen.taken / chosen.slots ||
              (chosen.node !== undefined && was.nodes.has(chosen.node))),
        );
        assert.deepEqual(better, []);
      },
    ),
  );
});

/** The same lots in every run (mulberry32). */
const lots = () => {
  let state = 7;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
};

/** One free one-slot worker. */
const idle = (id: string, more: Partial<Candidate> = {}): Candidate => ({
  ...worker(id, undefined, 0, 1),
  ...more,
});
const ids = (candidates: Candidate[], draws: number, random: () => number) => {
  const counts = new Map<string, number>();
  for (let i = 0; i < draws; i++) {
    const id = pick(candidates, NOWHERE, random)?.id ?? 'nobody';
    counts.set(id, (counts.get(id) ?? 0) + 1);
  }
  return counts;
};

const CHOICES: { name: string; candidates: Candidate[]; was?: ReturnType<typeof tried>; chosen: string }[] = [
  {
    name: 'the fastest idle worker is chosen',
    candidates: [idle('slow', { pace: 2 }), idle('fast', { pace: 0.5 }), idle('usual', { pace: 1 })],
    chosen: 'fast',
  },
  {
    name: 'an idle slow worker is chosen before a far fast one',
    candidates: [idle('far', { pace: 0.5, nearby: false }), idle('near', { pace: 2 })],
    chosen: 'near',
  },
  {
    name: 'with nobody near, a far one is chosen',
    candidates: [idle('far', { nearby: false })],
    chosen: 'far',
  },
  {
    name: 'a far node is better than one that has failed already',
    candidates: [idle('again', { node: 'n1' }), idle('far', { node: 'n2', nearby: false })],
    was: tried([], ['n1']),
    chosen: 'far',
  },
  {
    name: 'one that was just admitted waits behind a warm one, even a slower one',
    candidates: [idle('new', { warmth: 0.1, pace: 0.5 }), idle('warm', { pace: 2 })],
    chosen: 'warm',
  },
  {
    name: 'one that was just admitted is used when nobody else is free',
    candidates: [idle('new', { warmth: 0 })],
    chosen: 'new',
  },
];
for (const { name, candidates, was = NOWHERE, chosen } of CHOICES)
  test(name, () => {
    for (const order of [candidates, [...candidates].reverse()])
      assert.equal(pick(order, was, () => 0.5)?.id, chosen);
  });

test('a slow worker is measured again now and then, and a new one gets more as it warms up', () => {
  const random = lots();
  const explored = ids([idle('slow', { pace: 5 }), idle('fast', { pace: 1 })], 4000, random);
  const slow = (explored.get('slow') ?? 0) / 4000;
  assert.ok(slow > 0.01 && slow < 0.06, `${slow}`);
  const shareAt = (warmth: number) =>
    (ids([idle('new', { warmth }), idle('warm')], 4000, random).get('new') ?? 0) / 4000;
  assert.ok(shareAt(0) === 0);
  assert.ok(shareAt(0.2) < shareAt(0.6) && shareAt(0.6) < 0.5);
});

test('paces that differ by a hair share the work', () => {
  const counts = ids([idle('a', { pace: 1 }), idle('b', { pace: 1.05 })], 1000, lots());
  assert.ok((counts.get('a') ?? 0) > 300 && (counts.get('b') ?? 0) > 300);
});
