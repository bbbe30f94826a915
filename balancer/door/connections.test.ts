import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { networkOf } from '../../config/address.ts';
import { type Connection, Connections } from './connections.ts';

/** A connection that tells when it is closed. */
function from(network: string, { busy = false, spared = false } = {}) {
  const connection = { network, spared, busy: () => busy, closed: false, close: () => {} };
  connection.close = () => {
    connection.closed = true;
  };
  return connection;
}
const many = (count: number, network: string, more?: Parameters<typeof from>[1]) =>
  Array.from({ length: count }, () => from(network, more));

test('while there is room everybody is let in, however many are his', () => {
  const connections = new Connections(10);
  assert.ok(many(10, 'a').every((each) => connections.admit(each)));
  assert.equal(connections.count, 10);
});

test('a newcomer gets the place of the oldest idle connection of whoever holds the most', () => {
  const connections = new Connections(10);
  const [crowd, others] = [many(7, 'a'), many(3, 'b')];
  for (const each of [...crowd, ...others]) connections.admit(each);
  assert.ok(connections.admit(from('c')));
  assert.deepEqual(
    crowd.map(({ closed }) => closed),
    [true, ...Array.from({ length: 6 }, () => false)],
  );
  assert.equal(connections.count, 10);
});

test('5000 idle connections, from one address or from 256 of one IPv6 customer, keep nobody else out', () => {
  const customer = (at: number) => `2001:db8:1:2::${(at % 256).toString(16)}`;
  for (const address of [() => '192.0.2.1', customer]) {
    const connections = new Connections(2000);
    const network = (at: number) => networkOf(address(at), { v4: 32, v6: 64 });
    const crowd = Array.from({ length: 5000 }, (_, at) => from(network(at)));
    assert.equal(crowd.filter((each) => connections.admit(each)).length, 2000);
    const others = Array.from({ length: 300 }, (_, at) =>
      from(networkOf(`198.51.100.${at % 250}`, { v4: 32, v6: 64 })),
    );
    assert.ok(others.every((each) => connections.admit(each)));
    assert.equal(crowd.filter(({ closed }) => closed).length, 300);
    assert.ok(others.every(({ closed }) => !closed));
  }
});

const turnedAway: { name: string; held: Connection[]; newcomer: Connection }[] = [
  { name: 'whoever holds the most himself', held: many(10, 'a'), newcomer: from('a') },
  { name: 'one of as many as the others', held: [...many(5, 'a'), ...many(5, 'b')], newcomer: from('b') },
  { name: 'a stranger, while all are at work', held: many(10, 'a', { busy: true }), newcomer: from('c') },
  {
    name: 'a stranger, where all is a trusted proxy’s',
    held: many(10, 'a', { spared: true }),
    newcomer: from('c'),
  },
];
for (const { name, held, newcomer } of turnedAway)
  test(`with no room ${name} is turned away, and nobody loses a connection`, () => {
    const connections = new Connections(10);
    for (const each of held) connections.admit(each);
    assert.equal(connections.admit(newcomer), false);
    assert.ok(held.every((each) => !(each as ReturnType<typeof from>).closed));
    assert.equal(connections.count, 10);
  });

test('where the largest crowd is all at work, the next one gives', () => {
  const connections = new Connections(10);
  const idle = many(4, 'b');
  for (const each of [...many(6, 'a', { busy: true }), ...idle]) connections.admit(each);
  assert.ok(connections.admit(from('c')));
  assert.equal(idle.filter(({ closed }) => closed).length, 1);
});

test('whatever comes and goes: never more than there may be, and nobody is pushed below who pushes', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 8 }),
      fc.array(
        fc.record({ network: fc.constantFrom('a', 'b', 'c'), leaves: fc.boolean(), index: fc.nat(20) }),
      ),
      (most, steps) => {
        const connections = new Connections(most);
        let open: ReturnType<typeof from>[] = [];
        const of = (network: string) => open.filter((each) => each.network === network).length;
        for (const { network, leaves, index } of steps) {
          if (leaves) {
            const [gone] = open.splice(index % Math.max(1, open.length), 1);
            if (gone) connections.leave(gone);
            continue;
          }
          const newcomer = from(network);
          const before = open;
          const admitted = connections.admit(newcomer);
          open = [...before.filter(({ closed }) => !closed), ...(admitted ? [newcomer] : [])];
          for (const { network: pushed } of before.filter(({ closed }) => closed))
            assert.ok(of(pushed) >= of(network), `${pushed} fell below ${network}`);
          // A network without a connection is kept out only by those who have no more than one each.
          if (!admitted) assert.ok(before.every((each) => of(each.network) <= of(network) + 1));
        }
        assert.equal(connections.count, open.length);
        assert.ok(open.length <= most);
      },
    ),
  );
});
