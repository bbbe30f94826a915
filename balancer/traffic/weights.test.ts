import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { faultOfWeights, preference, shareOf } from './weights.ts';

const clients = Array.from({ length: 2000 }, (_, index) => `10.0.${index >> 8}.${index & 255}`);
const first = (weights: Record<string, number>, client: string) => preference(weights, client)[0];

const FAULTS: { name: string; weights: Record<string, unknown>; says: RegExp | undefined }[] = [
  { name: 'blue and green', weights: { '1.0': 0, '1.1': 100 }, says: undefined },
  { name: 'fractions', weights: { a: 0.5, b: 0.25 }, says: undefined },
  { name: 'nothing', weights: {}, says: /No release is named/ },
  { name: 'zeros alone', weights: { a: 0, b: 0 }, says: /All weights are 0.*pause/ },
  { name: 'less than nothing', weights: { a: -1 }, says: /weight of a is -1; allowed/ },
  { name: 'a text', weights: { a: '5' }, says: /weight of a is "5"/ },
  { name: 'no number', weights: { a: Number.NaN }, says: /weight of a/ },
  { name: 'too much', weights: { a: 1e9 }, says: /0 to 1000000/ },
  { name: 'an odd name', weights: { '../x': 1 }, says: /no release's name/ },
  {
    name: 'too many',
    weights: Object.fromEntries(Array.from({ length: 21 }, (_, index) => [`r${index}`, 1])),
    says: /At most 20/,
  },
];
for (const { name, weights, says } of FAULTS)
  test(`weights with ${name} are ${says ? 'refused with a sentence' : 'good'}`, () => {
    const fault = faultOfWeights(weights);
    if (says) assert.match(fault ?? '', says);
    else assert.equal(fault, undefined);
  });

test('a client always goes to the same release, whoever asks and in whatever order the weights stand', () => {
  fc.assert(
    fc.property(fc.string(), fc.nat(100), fc.integer({ min: 1, max: 100 }), (client, a, b) => {
      assert.deepEqual(preference({ a, b, c: 7 }, client), preference({ c: 7, b, a }, client));
    }),
  );
});

for (const [canary, base] of [
  [1, 99],
  [10, 90],
  [50, 50],
] as const)
  test(`of 2000 clients a canary at ${canary} of 100 gets its share within 3 points`, () => {
    const weights = { '1.0': base, '1.1': canary };
    const share = clients.filter((client) => first(weights, client) === '1.1').length / clients.length;
    assert.ok(Math.abs(share - shareOf(weights, '1.1')) < 0.03, `${share}`);
  });

test('when a canary grows, nobody who has it loses it', () => {
  fc.assert(
    fc.property(
      fc.string(),
      fc.integer({ min: 1, max: 99 }),
      fc.integer({ min: 1, max: 99 }),
      (client, small, more) => {
        if (first({ base: 100, canary: small }, client) === 'canary')
          assert.equal(first({ base: 100, canary: small + more }, client), 'canary');
      },
    ),
  );
});

test('of three releases, a change of one moves only clients into it or out of it', () => {
  fc.assert(
    fc.property(fc.string(), fc.integer({ min: 1, max: 50 }), (client, weight) => {
      const before = first({ a: 10, b: 10, c: 10 }, client);
      const after = first({ a: 10, b: 10, c: weight }, client);
      assert.ok(before === after || before === 'c' || after === 'c');
    }),
  );
});

test('a weight of 0 shares nothing', () => {
  for (const client of clients.slice(0, 100)) assert.deepEqual(preference({ a: 0, b: 1 }, client), ['b']);
});
