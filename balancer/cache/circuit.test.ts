import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { after, ask, type Circuit, CLOSED } from './circuit.ts';

test('three failures in a row open it, a success in between does not', () => {
  let circuit: Circuit = CLOSED;
  for (const end of ['failure', 'failure', 'success', 'failure', 'failure'] as const)
    circuit = after(circuit, end, 0);
  assert.equal(circuit.kind, 'closed');
  assert.deepEqual(after(circuit, 'failure', 5), { kind: 'open', until: 1005, termMs: 1000 });
});

test('after its term one may try, and nobody beside it', () => {
  const open: Circuit = { kind: 'open', until: 1000, termMs: 1000 };
  assert.equal(ask(open, 999).passes, false);
  const { passes, circuit } = ask(open, 1000);
  assert.equal(passes, true);
  assert.equal(ask(circuit, 1000).passes, false);
  assert.deepEqual(after(circuit, 'success', 1001), CLOSED);
  assert.deepEqual(after(circuit, 'failure', 1001), { kind: 'open', until: 3001, termMs: 2000 });
});

test('terms grow to half a minute and no further, and no failure is asked more often than its term', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 40_000 }), { maxLength: 200 }), (waits) => {
      let circuit: Circuit = after(after(after(CLOSED, 'failure', 0), 'failure', 0), 'failure', 0);
      let [now, last, term] = [0, 0, 1000];
      for (const wait of waits) {
        now += wait;
        const asked = ask(circuit, now);
        assert.equal(asked.passes, now - last >= term);
        if (!asked.passes) continue;
        circuit = after(asked.circuit, 'failure', now);
        [last, term] = [now, Math.min(30_000, term * 2)];
      }
    }),
  );
});
