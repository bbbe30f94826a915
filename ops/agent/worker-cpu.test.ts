import assert from 'node:assert/strict';
import test from 'node:test';
import { WorkerCpu } from './worker-cpu.ts';

test('a share is the CPU time of the window, and a newcomer has none', () => {
  const cpu = new WorkerCpu(10_000);
  for (let second = 0; second <= 20; second++) {
    const old = { pid: 1, ready: true, cpuSeconds: second * 0.5 };
    const young = { pid: 2, ready: second >= 18, cpuSeconds: second };
    cpu.note([old, young], second * 1000);
  }
  assert.deepEqual(cpu.shares(), { values: [0.5], unmeasured: 1 });
});

test('what a worker burned while it loaded its models is not counted', () => {
  const cpu = new WorkerCpu(4_000);
  cpu.note([{ pid: 1, ready: false, cpuSeconds: 3 }], 0);
  for (let second = 1; second <= 5; second++)
    cpu.note([{ pid: 1, ready: true, cpuSeconds: 4 }], second * 1000);
  assert.deepEqual(cpu.shares(), { values: [0], unmeasured: 0 });
});

test('inference on more threads than one is a whole core, and who is gone is forgotten', () => {
  const cpu = new WorkerCpu(2_000);
  cpu.note([{ pid: 1, ready: true, cpuSeconds: 0 }], 0);
  cpu.note([{ pid: 1, ready: true, cpuSeconds: 5 }], 2_000);
  assert.deepEqual(cpu.shares().values, [1]);
  cpu.note([], 3_000);
  assert.deepEqual(cpu.shares(), { values: [], unmeasured: 0 });
});
