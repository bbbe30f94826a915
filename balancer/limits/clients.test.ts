import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { Clients } from './clients.ts';

const limits = { rate: { burst: 2, everyMs: 1000 }, concurrent: 2 };
const table = (most: number) => new Clients(limits, { most, ipv6Prefix: 64 });

test('addresses of one household are one client, those of another one are not', () => {
  const clients = table(100);
  const one = clients.of('2001:db8:1:2::1', 0);
  assert.equal(clients.of('2001:db8:1:2:ffff::9', 0), one);
  assert.notEqual(clients.of('2001:db8:1:3::1', 0), one);
  assert.equal(clients.of('1.2.3.4', 0), clients.of('1.2.3.4', 0));
  assert.notEqual(clients.of('1.2.3.4', 0), clients.of('1.2.3.5', 0));
});

test('who has spent its tokens cannot get them back by filling the table', () => {
  const clients = table(100);
  const spent = clients.of('9.9.9.9', 0);
  spent.take(0)();
  spent.take(0)();
  for (let i = 0; i < 10_000; i++)
    clients.of(`2001:db8:${(i >> 8).toString(16)}:${(i & 255).toString(16)}::1`, 0).take(0)();
  assert.equal(clients.of('9.9.9.9', 0), spent);
  assert.equal(clients.of('9.9.9.9', 0).exceeded(0), 'rate');
});

test('newcomers of a full table share the limits of their network, so that an attacker pays first itself', () => {
  const clients = table(100);
  for (let i = 0; i < 100; i++) clients.of(`2001:db8:0:${i.toString(16)}::1`, 0).take(0)();
  const newcomer = clients.of('2001:db8:0:aaaa::1', 0);
  assert.equal(clients.of('2001:db8:0:bbbb::1', 0), newcomer);
  assert.notEqual(clients.of('2001:db8:1:aaaa::1', 0), newcomer);
});

test('clients that are restored are forgotten when others come', () => {
  const clients = table(100);
  for (let i = 0; i < 100; i++) clients.of(`1.1.1.${i}`, 0).take(0)();
  for (let i = 0; i < 100; i++) clients.of(`2.2.2.${i}`, 5000).take(5000)();
  assert.equal(clients.size, 100);
  assert.notEqual(clients.of('2.2.2.1', 5000), clients.of('2.2.2.2', 5000));
});

test('requests that are long under way do not keep the table full', () => {
  const clients = table(100);
  for (let i = 0; i < 50; i++) clients.of(`1.1.1.${i}`, 0).take(0);
  for (let i = 0; i < 50; i++) clients.of(`2.2.2.${i}`, 0).take(0)();
  const made = new Set(Array.from({ length: 40 }, (_, i) => clients.of(`3.3.3.${i}`, 5000 + i)));
  assert.ok(made.size >= 36, `${made.size} of 40 newcomers have an allowance of their own`);
});

test('clients that keep coming do not stand in the way of forgetting those that went', () => {
  const clients = table(100);
  for (let i = 0; i < 100; i++) clients.of(`1.1.1.${i}`, 0).take(0)();
  const regulars = () => {
    for (let i = 0; i < 40; i++) clients.of(`1.1.1.${i}`, 5000).take(5000)();
  };
  regulars();
  const made = new Set(Array.from({ length: 60 }, (_, i) => clients.of(`3.3.3.${i}`, 5000)));
  assert.equal(made.size, 60);
});

test('no sequence of requests lets a client have more than its limit, and memory stays bounded', () => {
  const request = fc.record({ who: fc.nat(60), gapMs: fc.nat(800), leaves: fc.boolean() });
  fc.assert(
    fc.property(fc.array(request, { maxLength: 400 }), (requests) => {
      const most = 16;
      const clients = table(most);
      const let_in = new Map<number, number[]>();
      let now = 0;
      for (const { who, gapMs, leaves } of requests) {
        now += gapMs;
        // Spread over many wide networks, and a few in each.
        const allowance = clients.of(`10.${who % 7}.${who % 11}.${who}`, now);
        assert.ok(clients.size <= most + most / 8);
        if (allowance.exceeded(now)) continue;
        const leave = allowance.take(now);
        if (leaves) leave();
        let_in.set(who, [...(let_in.get(who) ?? []), now]);
      }
      for (const times of let_in.values())
        for (const [first, from] of times.entries())
          for (const [last, until] of times.entries())
            if (last >= first)
              // At most one change between its own, its network's and everybody's allowance each way while it is known.
              assert.ok(last - first + 1 <= 3 * (2 + Math.floor((until - from) / 1000)));
    }),
  );
});
