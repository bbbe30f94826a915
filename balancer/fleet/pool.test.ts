import assert from 'node:assert/strict';
import test from 'node:test';
import type { Style } from '../../config/contract.ts';
import { normaliseStyle } from '../../config/image-request.ts';
import { targetOf } from './ask.ts';
import { Pool } from './pool.ts';

const style: Style = {
  id: 'meadow',
  title: 'Meadow',
  model: 'meadow',
  licence: 'Apache-2.0',
  thumbnail_url: null,
  aliases: ['hayao_64', 'animeganv3_hayao_36'],
  default: true,
};

const poolOf = () => {
  const pool = new Pool({
    counts: { rise: 2, fall: 2 },
    zone: 'default',
    random: () => 0,
    now: () => 0,
    events: { changed() {}, judged() {}, stirred() {} },
  });
  pool.put({
    id: 'a',
    target: targetOf('http://127.0.0.1:8100'),
    node: 'vm-1',
    slots: 1,
    nodeDraining: false,
    zone: 'default',
    preemptible: false,
    msPerMegapixel: null,
  });
  return pool;
};
const want = (name: string | undefined, tried: readonly string[] = []) => ({
  style: name && normaliseStyle(name),
  priority: 'interactive' as const,
  expectedMs: 0,
  tried: { upstreams: new Set(tried), nodes: new Set<string>() },
});

test('an alias means its style however it is spelt', () => {
  const pool = poolOf();
  pool.tell('a', { kind: 'passed' });
  pool.learnStyles('a', [style]);
  for (const name of ['meadow', 'Meadow', 'HAYAO-64', 'hayao_64.onnx', 'AnimeGANv3_Hayao_36', 'hayao 64']) {
    assert.equal(pool.cannotDraw(name), false, name);
    const claim = pool.claim(want(name));
    assert.ok(claim, name);
    claim.release();
  }
  assert.equal(pool.cannotDraw('nowhere'), true);
  assert.equal(pool.claim(want('nowhere')), undefined);
});

test('a picture whose worker died waits for one that is coming up; a new one does not', () => {
  const pool = poolOf();
  assert.equal(pool.possible(want(undefined)), false, 'nobody has said yet that it works');
  assert.equal(pool.possible(want(undefined, ['dead'])), true);
  assert.equal(pool.possible(want(undefined, ['a'])), false, 'it was tried there');
});
