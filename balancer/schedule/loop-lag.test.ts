import assert from 'node:assert/strict';
import test from 'node:test';
import { watchLoop } from './loop-lag.ts';

test('an event loop that was held up tells for how long', async () => {
  const lagMs = await new Promise<number>((resolve) => {
    const stop = watchLoop(
      () => performance.now(),
      (ms) => {
        if (ms < 50) return;
        stop();
        resolve(ms);
      },
    );
    // The watch's own timer does not keep a process alive.
    const alive = setTimeout(() => {}, 10_000);
    setImmediate(() => {
      const until = performance.now() + 100;
      while (performance.now() < until);
      clearTimeout(alive);
    });
    setTimeout(() => {}, 300);
  });
  assert.ok(lagMs >= 70 && lagMs < 2000, `${lagMs}`);
});
