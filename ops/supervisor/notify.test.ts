import assert from 'node:assert/strict';
import test from 'node:test';
import { supervisorOf } from './notify.ts';

function listening(env: Record<string, string>) {
  const heard: string[] = [];
  const waiting: (() => void)[] = [];
  const supervisor = supervisorOf(env, async (words) => {
    heard.push(...words);
    for (const go of waiting.splice(0)) go();
  });
  const next = () => new Promise<void>((resolve) => void waiting.push(resolve));
  return { supervisor, heard, next };
}

test('without a supervisor nothing is said', () => {
  const { supervisor, heard } = listening({ WATCHDOG_USEC: '1000' });
  supervisor.ready(async () => true);
  supervisor.stopping();
  assert.deepEqual(heard, []);
});

test('readiness and the end are told', () => {
  const { supervisor, heard } = listening({ NOTIFY_SOCKET: '/run/notify' });
  supervisor.ready(async () => true);
  supervisor.stopping();
  assert.deepEqual(
    heard.filter((word) => !word.startsWith('STATUS')),
    ['READY=1', 'STOPPING=1'],
  );
});

test('the watchdog hears only from a service that is well, and nothing more once it stops', async () => {
  const { supervisor, heard, next } = listening({ NOTIFY_SOCKET: '/run/notify', WATCHDOG_USEC: '4000' });
  let asked = 0;
  let unwell = () => {};
  const ill = new Promise<void>((resolve) => {
    unwell = resolve;
  });
  supervisor.ready(async () => {
    asked += 1;
    if (asked < 3) return true;
    unwell();
    return false;
  });
  // The supervisor's own timers do not keep a process alive.
  const awake = setInterval(() => {}, 1000);
  await next();
  await next();
  await ill;
  clearInterval(awake);
  supervisor.stopping();
  assert.equal(heard.filter((word) => word === 'WATCHDOG=1').length, 2);
});
