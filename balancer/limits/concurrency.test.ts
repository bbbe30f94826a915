import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { Concurrency } from './concurrency.ts';

test('a place that is given back twice comes back once', () => {
  const places = new Concurrency(2);
  const first = places.take();
  places.take();
  assert.equal(places.free, 0);
  first();
  first();
  assert.equal(places.free, 1);
});

test('places never leak and are never more than there are', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 8 }), fc.array(fc.option(fc.nat(7))), (most, steps) => {
      const places = new Concurrency(most);
      const held: (() => void)[] = [];
      for (const step of steps) {
        const given = step === null ? undefined : held.splice(step, 1)[0];
        if (step !== null) given?.();
        else if (places.free > 0) held.push(places.take());
        assert.equal(places.taken, held.length);
        assert.ok(places.taken <= most);
      }
      for (const give of held) give();
      assert.equal(places.taken, 0);
    }),
  );
});
