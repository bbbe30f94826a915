import assert from 'node:assert/strict';
import test from 'node:test';
import { Speed } from './speed.ts';

const MP = 1_000_000;

test('a picture is expected to take what such pictures of its model took, and what is around them', () => {
  const speed = new Speed();
  for (let n = 0; n < 50; n++) {
    speed.drew('slow', MP, 900);
    speed.drew('quick', MP, 90);
    speed.carried(MP, 30);
  }
  for (const [model, ms] of [
    ['slow', 930],
    ['quick', 120],
  ] as const) {
    const expected = speed.expect(model, MP, MP);
    assert.ok(expected >= ms && expected < ms * 1.1, `${model}: ${expected}`);
  }
});

test('a golden picture says what a model takes, and is not counted as work', () => {
  const speed = new Speed();
  speed.proved('new', MP / 16, 100);
  speed.carried(MP, 1);
  assert.equal(speed.msPerMegapixel, null);
  assert.ok(speed.expect('new', MP, MP) >= 1600);
});

test('one real picture of any size says more of a model than its golden one', () => {
  const speed = new Speed();
  speed.proved('new', MP / 16, 500);
  speed.drew('new', MP, 800);
  const expected = speed.expect('new', MP / 16, MP / 16);
  assert.ok(expected < 100, `${expected} ms`);
});

test('a composite that has drawn nothing yet is expected to take what its background takes', () => {
  const speed = new Speed();
  for (let n = 0; n < 20; n++) speed.proved('quick', MP / 16, 1);
  speed.proved('scene', MP / 16, 100);
  assert.ok(speed.expect('portrait', MP, MP, 'scene') >= 1600);
  speed.drew('scene', MP, 900);
  const expected = speed.expect('portrait', MP, MP, 'scene');
  assert.ok(expected >= 900 && expected < 1200, `${expected} ms`);
  speed.drew('portrait', MP, 2000);
  assert.ok(speed.expect('portrait', MP, MP, 'scene') >= 2000);
});

test('the agent is told a mean over about the last eight pictures', () => {
  const speed = new Speed();
  speed.drew('any', MP, 100);
  speed.drew('any', 2 * MP, 360);
  assert.equal(speed.msPerMegapixel, 110);
});
