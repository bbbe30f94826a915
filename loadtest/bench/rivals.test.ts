import assert from 'node:assert/strict';
import test from 'node:test';
import { tunedQueueMs } from './rivals.ts';

test('a tuned HAProxy lets nobody wait so long that the longest service would end at the very deadline', () => {
  assert.equal(tunedQueueMs({ deadlineMs: 1000, serviceMs: 400 }), 580);
  assert.equal(tunedQueueMs({ deadlineMs: 5000, serviceMs: 2000 }), 2900);
  assert.equal(tunedQueueMs({ deadlineMs: 1000, serviceMs: 1000 }), 1, 'a timeout of 0 would be none');
});
