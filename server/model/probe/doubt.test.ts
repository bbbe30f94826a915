import assert from 'node:assert/strict';
import test from 'node:test';
import { ModelFault } from '../entries/fault.ts';
import { settleDoubt } from './doubt.ts';
import type { Reading } from './range-verdict.ts';

const readings: Reading[] = [
  { input: [0, 1], output: [0, 1], distance: 0.1 },
  { input: [0, 255], output: [-1, 1], distance: 0.12 },
];
const doubt = { kind: 'unsure', readings, why: 'two look alike' } as const;
const silent = () => assert.fail('nothing to warn of');

test('the person sees the readings, nearest first, and chooses by number', async () => {
  const questions: string[] = [];
  const ask = async (question: string) => {
    questions.push(question);
    return '2';
  };
  assert.equal(await settleDoubt(doubt, ask, silent), readings[1]);
  assert.match(questions.join(), /1 {2}0 to 1 .*\n {2}2 {2}0 to 255 in and -1 to 1 out .*0\.12/);
});

for (const answer of ['', '0', '3', 'yes']) {
  test(`"${answer}" chooses nothing, and nothing goes on`, async () => {
    await assert.rejects(
      settleDoubt(doubt, async () => answer, silent),
      ModelFault,
    );
  });
}

test('without anybody, or without anything to choose from, the usual range is taken with a warning', async () => {
  for (const [ask, shown] of [
    [undefined, readings],
    [() => assert.fail('nothing to ask'), []],
  ] as const) {
    const said: string[] = [];
    const settled = await settleDoubt(
      { ...doubt, readings: shown },
      ask,
      (sentence) => void said.push(sentence),
    );
    assert.deepEqual(settled, { input: [-1, 1], output: [-1, 1] });
    assert.match(said.join(), /^WARNING: it is not sure .*two look alike.* --range/);
  }
});
