import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { drawPicture } from '../golden.ts';
import { CANDIDATES, judgeRanges, type ValueRange } from './range-verdict.ts';

const side = 64;
const photo = { data: drawPicture(side, side, 3), width: side, height: side };

/** What a network that draws `toon` of even lights gives for the photo under each candidate. */
function attemptsOf(
  own: ValueRange,
  toon: (light: number) => number,
  out: (light: number) => number = (light) => own[0] + ((light + 1) / 2) * (own[1] - own[0]),
) {
  return CANDIDATES.map((input) => ({
    input,
    values: Float32Array.from(photo.data, (byte) => {
      const value = input[0] + (byte / 255) * (input[1] - input[0]);
      return out(toon(((value - own[0]) / (own[1] - own[0])) * 2 - 1));
    }),
  }));
}

const looks: [name: string, toon: (light: number) => number][] = [
  ['a network that brings out contrasts', (light) => Math.tanh(1.5 * light)],
  ['a network that softens them', (light) => Math.tanh(0.8 * light)],
  ['a network of a few flat tones', (light) => Math.round(Math.tanh(1.2 * light) * 4) / 4],
  ['a network that draws brighter', (light) => Math.tanh(1.2 * light + 0.3)],
];
for (const own of CANDIDATES) {
  for (const [name, toon] of looks) {
    test(`${name} from ${own.join(' to ')} is read with its own range, surely`, () => {
      const verdict = judgeRanges(photo, attemptsOf(own, toon));
      assert.equal(verdict.kind, 'sure', JSON.stringify(verdict));
      assert.ok(verdict.kind === 'sure');
      assert.deepEqual([verdict.reading.input, verdict.reading.output], [own, own]);
    });
  }
}

test('a network that gives other values than it takes is read so', () => {
  const verdict = judgeRanges(
    photo,
    attemptsOf(
      [0, 255],
      (light) => Math.tanh(1.3 * light),
      (light) => light,
    ),
  );
  assert.ok(verdict.kind === 'sure', JSON.stringify(verdict));
  assert.deepEqual(
    [verdict.reading.input, verdict.reading.output],
    [
      [0, 255],
      [-1, 1],
    ],
  );
});

const unsure: [name: string, attempts: Parameters<typeof judgeRanges>[1], why: RegExp][] = [
  [
    'a network that gives back what it gets',
    attemptsOf([0, 1], (light) => light),
    /about as well with .* as with /,
  ],
  ['a network whose drawing is black', attemptsOf([-1, 1], () => -1), /under no range/],
  [
    'a network whose drawing is noise',
    attemptsOf([-1, 1], (light) => Math.sin(9e4 * light)),
    /under no range/,
  ],
  ['a network that gives no numbers', attemptsOf([-1, 1], () => Number.NaN), /no numbers/],
  ['a network that could not be run', [], /no numbers/],
];
for (const [name, attempts, why] of unsure) {
  test(`${name} is unsure, and says why`, () => {
    const verdict = judgeRanges(photo, attempts);
    assert.ok(verdict.kind === 'unsure', JSON.stringify(verdict));
    assert.match(verdict.why, why);
  });
}

test('whatever a network gives, there is a verdict, and a sure one is the nearest', () => {
  const value = fc.double({ noDefaultInfinity: false });
  fc.assert(
    fc.property(fc.array(value, { minLength: 1, maxLength: 20 }), (few) => {
      const attempts = CANDIDATES.map((input, at) => ({
        input,
        values: Float32Array.from(photo.data, (_, index) => few[(index + at) % few.length] ?? 0),
      }));
      const verdict = judgeRanges(photo, attempts);
      if (verdict.kind === 'sure') assert.ok(verdict.reading.distance <= verdict.next.distance);
    }),
    { numRuns: 30 },
  );
});
