import assert from 'node:assert/strict';
import test from 'node:test';
import { SILENT } from '../ops/process/log.ts';
import { proveWhenIdle } from './golden-watch.ts';
import { ModelFault } from './model/entries/fault.ts';
import type { Library } from './model/library.ts';
import { Readiness } from './readiness.ts';
import { Slot } from './slot.ts';

function watched(proveNext: () => Promise<void>) {
  const readiness = new Readiness();
  readiness.happened({ kind: 'proven' });
  const slot = new Slot(0);
  let proofs = 0;
  const library = {
    proveNext: () => {
      proofs++;
      return proveNext();
    },
  } as Library;
  return { readiness, slot, library, log: SILENT, proofs: () => proofs };
}

test('a model is never proven on a busy slot', async () => {
  const parts = watched(() => Promise.resolve());
  const release = parts.slot.tryClaim();
  await proveWhenIdle(parts, 0);
  assert.equal(parts.proofs(), 0);
  release?.();
  await proveWhenIdle(parts, 0);
  assert.equal(parts.proofs(), 1);
});

test('a slot that was just used is left alone', async () => {
  const parts = watched(() => Promise.resolve());
  await proveWhenIdle(parts, 60_000);
  assert.equal(parts.proofs(), 0);
});

test('the slot is taken while a model is proven, and given back', async () => {
  const parts = watched(async () => assert.equal(parts.slot.busy, true));
  await proveWhenIdle(parts, 0);
  assert.equal(parts.slot.busy, false);
});

test('a wrong golden picture takes the worker out, and a right one brings it back', async () => {
  let wrong = true;
  const parts = watched(async () => {
    if (wrong) throw new ModelFault('model meadow: off');
  });
  await proveWhenIdle(parts, 0);
  assert.deepEqual([parts.readiness.state, parts.readiness.detail], ['loading', 'model meadow: off']);
  assert.equal(parts.slot.busy, false);
  wrong = false;
  await proveWhenIdle(parts, 0);
  assert.equal(parts.readiness.state, 'ready');
});
