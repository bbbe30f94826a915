import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { type Candidate, NOWHERE, pick } from './pick.ts';

const worker = (id: string, node: string | undefined, taken: number, slots = 4): Candidate => ({
  id,
  node,
  taken,
  slots,
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
  assert.equal(pick(workers, NOWHERE, scripted(0.9, 0.9))?.id, 'a');
  assert.equal(pick(workers, NOWHERE, scripted(0.1, 0.9))?.id, 'b');
  assert.equal(pick(workers, NOWHERE, scripted(0.9, 0.1))?.id, 'c');
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
        const chosen = pick(all, was, () => draw);
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
