import assert from 'node:assert/strict';
import test from 'node:test';
import { type Condition, next, Readiness, type ReadinessEvent } from './readiness.ts';

const loading: Condition = { state: 'loading', detail: 'why' };
const ready: Condition = { state: 'ready', detail: undefined };
const draining: Condition = { state: 'draining', detail: undefined };
const proven: ReadinessEvent = { kind: 'proven' };
const fault: ReadinessEvent = { kind: 'fault', detail: 'why' };
const drain: ReadinessEvent = { kind: 'drain' };

const cases: [from: Condition, event: ReadinessEvent, to: Condition][] = [
  [loading, proven, ready],
  [loading, fault, loading],
  [loading, drain, draining],
  [ready, proven, ready],
  [ready, fault, loading],
  [ready, drain, draining],
  [draining, proven, draining],
  [draining, fault, draining],
  [draining, drain, draining],
];
for (const [from, event, to] of cases) {
  test(`${from.state} after ${event.kind} is ${to.state}`, () => assert.deepEqual(next(from, event), to));
}

test('a change is told once, and no change is not told', () => {
  const told: string[] = [];
  const readiness = new Readiness(({ state }) => told.push(state));
  readiness.happened(proven);
  readiness.happened(proven);
  readiness.happened(drain);
  readiness.happened(fault);
  assert.deepEqual(told, ['ready', 'draining']);
});
