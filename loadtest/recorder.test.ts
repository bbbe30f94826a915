import assert from 'node:assert/strict';
import test from 'node:test';
import type { Outcome } from './outcome.ts';
import { Recorder } from './recorder.ts';

const nothing = { cpu: null, workerMemoryMb: null, queueLength: null };
const outcome = (doneMs: number, changes: Partial<Outcome> = {}): Outcome => ({
  dueMs: 0,
  sentMs: 0,
  doneMs,
  ending: 'ok',
  reason: '',
  bytes: 100,
  timings: {},
  cacheHit: false,
  ...changes,
});

test('latency counts from the due moment, lateness from due to sent', () => {
  const recorder = new Recorder(3000, 0);
  recorder.send(1, 100, 130);
  recorder.settle(1, outcome(600, { dueMs: 100, sentMs: 130 }));
  assert.equal(Math.round(recorder.latency.percentiles()?.max ?? 0), 500);
  assert.equal(Math.round(recorder.lateness.at(99)), 30);
});

test('every ending is counted once, and only pictures have a latency', () => {
  const recorder = new Recorder(200, 0);
  for (let id = 0; id < 5; id++) recorder.send(id, 0, 0);
  recorder.settle(0, outcome(100));
  recorder.settle(1, outcome(300));
  recorder.settle(2, outcome(5, { ending: 'shed', reason: '503' }));
  recorder.settle(2, outcome(5, { ending: 'shed', reason: '503' }));
  recorder.settle(3, outcome(5, { ending: 'failed', reason: '502' }));
  assert.deepEqual(recorder.counts, { ok: 2, shed: 1, limited: 0, failed: 1, wrong: 0 });
  assert.deepEqual([recorder.done, recorder.errors, recorder.inFlight, recorder.overLimit], [4, 2, 1, 1]);
  assert.equal(recorder.latency.count, 2);
  recorder.abandon('timeout');
  assert.deepEqual(recorder.reasons, { 503: 1, 502: 1, timeout: 1 });
});

test('an answer that turns out to be rubbish is no picture', () => {
  const recorder = new Recorder(null, 0);
  recorder.send(1, 0, 0);
  recorder.settle(1, outcome(10));
  recorder.retract('not a picture');
  assert.deepEqual([recorder.counts.ok, recorder.counts.wrong, recorder.errors], [0, 1, 1]);
});

test('a backlog that grows steadily is seen, one that jumps around a level is not', () => {
  const growing = new Recorder(null, 0);
  for (let at = 0; at <= 40; at++) {
    growing.send(at, at, at);
    growing.sample(at * 100);
  }
  assert.ok(Math.abs(growing.backlogGrowth(4000) - 80 / 3) < 0.01, `${growing.backlogGrowth(4000)}`);
  const level = new Recorder(null, 0);
  for (let at = 0; at < 40; at++) {
    if (at % 2 === 0) level.send(at, at, at);
    else level.settle(at - 1, outcome(at));
    level.sample(at * 100);
  }
  assert.ok(Math.abs(level.backlogGrowth(4000)) < 0.5);
});

test('a second holds what ended in it, and the next begins empty', () => {
  const recorder = new Recorder(null, 7);
  for (let id = 0; id < 3; id++) recorder.send(id, 0, 0);
  recorder.settle(0, outcome(100, { timings: { queue: 40, infer: 50 } }));
  recorder.settle(1, outcome(200, { timings: { queue: 60, infer: 70 } }));
  recorder.closeSecond(1000, { cpu: 0.5, workerMemoryMb: 300, queueLength: 4 });
  recorder.closeSecond(2000, nothing);
  const [first, second] = recorder.overTime;
  assert.deepEqual(
    [first?.t, first?.sent, first?.ok, first?.in_flight, first?.queue_ms, first?.cpu],
    [8, 3, 2, 1, 50, 0.5],
  );
  assert.deepEqual([second?.sent, second?.ok, second?.p95], [0, 0, null]);
  assert.deepEqual(recorder.stages(), { queue: 50, infer: 60 });
});
