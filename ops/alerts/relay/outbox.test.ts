import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import type { Rate } from '../../../balancer/limits/token-bucket.ts';
import type { Notice } from './notice.ts';
import { type End, Outbox, pauseAfter } from './outbox.ts';
import type { Outcome } from './outcome.ts';
import { smsRate } from './sms.ts';
import { WECOM_RATE } from './wecom.ts';

const notice = (key: string, status: Notice['status'] = 'firing'): Notice => ({
  version: '4',
  groupKey: key,
  truncatedAlerts: 0,
  status,
  groupLabels: {},
  commonLabels: {},
  alerts: [
    { status, labels: {}, annotations: {}, startsAt: '2026-01-02T03:04:05Z', endsAt: '', fingerprint: key },
  ],
});

/** An outbox with a clock that is turned by hand, and a service that answers by a script and then with "sent". */
function world(script: (Outcome | Error)[] = [], rate: Rate = WECOM_RATE, together = 20) {
  let now = 0;
  const timers: { at: number; run: () => void }[] = [];
  const attempts: { at: number; keys: string[] }[] = [];
  const ends: [End, number][] = [];
  const outbox = new Outbox({
    rate,
    together,
    now: () => now,
    random: () => 1,
    later: (ms, run) => void timers.push({ at: now + ms, run }),
    settled: (end, notices) => void ends.push([end, notices]),
    retried: () => {},
    send: async (notices) => {
      attempts.push({ at: now, keys: notices.map(({ groupKey }) => groupKey) });
      const outcome = script.shift() ?? { kind: 'sent' };
      if (outcome instanceof Error) throw outcome;
      return outcome;
    },
  });
  /** Lets everything happen that is due until then. */
  const runTo = async (until: number) => {
    for (;;) {
      for (let turn = 0; turn < 20; turn++) await Promise.resolve();
      const next = timers.filter(({ at }) => at <= until).sort((a, b) => a.at - b.at)[0];
      if (!next) break;
      timers.splice(timers.indexOf(next), 1);
      now = next.at;
      next.run();
    }
    now = until;
  };
  return { outbox, attempts, ends, runTo };
}

const later: Outcome = { kind: 'later', why: 'busy' };

test('a notice that its service cannot even be given is given up, and those behind it go on', async () => {
  const { outbox, ends, runTo } = world([new TypeError('no such text')], WECOM_RATE, 1);
  const first = outbox.deliver(notice('a'));
  const second = outbox.deliver(notice('b'));
  await runTo(60_000);
  assert.deepEqual([await first, await second], ['failed', 'sent']);
  assert.deepEqual(ends, [
    ['failed', 1],
    ['sent', 1],
  ]);
});

test('a notice is sent at once, and an equal one within five minutes is not', async () => {
  const { outbox, attempts, runTo } = world();
  const first = outbox.deliver(notice('a'));
  const second = outbox.deliver(notice('a'));
  await runTo(1);
  assert.deepEqual([await first, await second], ['sent', 'sent']);
  assert.equal(await outbox.deliver(notice('a')), 'sent');
  await runTo(2);
  assert.equal(attempts.length, 1);
  // That it is over is news, and so is a repetition after hours.
  void outbox.deliver(notice('a', 'resolved'));
  await runTo(3);
  assert.equal(attempts.length, 2);
  await runTo(4 * 3_600_000);
  void outbox.deliver(notice('a'));
  await runTo(4 * 3_600_000 + 1);
  assert.equal(attempts.length, 3);
});

test('what went wrong is tried again with growing pauses, and what came meanwhile goes with it', async () => {
  const { outbox, attempts, ends, runTo } = world([later, later, later]);
  const end = outbox.deliver(notice('a'));
  await runTo(500);
  void outbox.deliver(notice('b'));
  await runTo(60_000);
  assert.equal(await end, 'sent');
  assert.deepEqual(attempts, [
    { at: 0, keys: ['a'] },
    { at: 1_000, keys: ['a', 'b'] },
    { at: 3_000, keys: ['a', 'b'] },
    { at: 7_000, keys: ['a', 'b'] },
  ]);
  assert.deepEqual(ends, [['sent', 2]]);
});

test('a service that says how long to wait is given that time', async () => {
  const { outbox, attempts, runTo } = world([{ kind: 'later', why: '45009', afterMs: 60_000 }]);
  void outbox.deliver(notice('a'));
  await runTo(120_000);
  assert.deepEqual(
    attempts.map(({ at }) => at),
    [0, 60_000],
  );
});

test('what can never be sent fails at once, and the next one is not held up', async () => {
  const { outbox, attempts, runTo } = world([{ kind: 'never', why: 'wrong key' }], WECOM_RATE, 1);
  const first = outbox.deliver(notice('a'));
  const second = outbox.deliver(notice('b'));
  await runTo(1);
  assert.deepEqual([await first, await second], ['failed', 'sent']);
  assert.equal(attempts.length, 2);
});

test('a notice is given up after a quarter of an hour, and may then be said again', async () => {
  const { outbox, ends, runTo } = world(Array.from({ length: 100 }, () => later));
  const end = outbox.deliver(notice('a'));
  await runTo(17 * 60_000);
  assert.equal(await end, 'failed');
  assert.deepEqual(ends, [['failed', 1]]);
  assert.equal(outbox.waiting, 0);
  void outbox.deliver(notice('a'));
  assert.equal(outbox.waiting, 1);
});

test('in a storm the oldest are given up, and no more than the outbox holds wait', async () => {
  const { outbox, ends, runTo } = world([later]);
  for (let each = 0; each < 700; each++) void outbox.deliver(notice(`n${each}`));
  assert.equal(outbox.waiting, 500);
  await runTo(3_600_000);
  const sum = (wanted: End) =>
    ends.filter(([end]) => end === wanted).reduce((all, [, count]) => all + count, 0);
  assert.deepEqual([sum('failed'), sum('sent')], [200, 500]);
});

/** The most attempts in any such stretch of time. */
const densest = (at: readonly number[], ms: number) =>
  Math.max(0, ...at.map((from) => at.filter((time) => time >= from && time < from + ms).length));

test('never more than 20 messages to WeCom in any minute, nor more short messages in an hour than allowed', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 0, max: 20_000 }), { minLength: 1, maxLength: 80 }),
      fc.array(fc.constantFrom<Outcome>(later, { kind: 'sent' }), { maxLength: 30 }),
      async (gaps, script) => {
        const wecom = world([...script], WECOM_RATE, 1);
        const sms = world([...script], smsRate({ per_hour: 20 }), 1);
        let at = 0;
        for (const [index, gap] of gaps.entries()) {
          at += gap;
          for (const each of [wecom, sms]) {
            await each.runTo(at);
            void each.outbox.deliver(notice(`n${index}`));
          }
        }
        for (const each of [wecom, sms]) await each.runTo(at + 40 * 3_600_000);
        assert.ok(
          densest(
            wecom.attempts.map((attempt) => attempt.at),
            60_000,
          ) <= 20,
        );
        assert.ok(
          densest(
            sms.attempts.map((attempt) => attempt.at),
            3_600_000,
          ) <= 20,
        );
      },
    ),
    { numRuns: 30 },
  );
});

test('pauses double up to a minute, and by chance are up to half as long', () => {
  assert.deepEqual(
    [1, 2, 3, 6, 7, 50].map((failures) => pauseAfter(failures, 1)),
    [1000, 2000, 4000, 32000, 60000, 60000],
  );
  assert.equal(pauseAfter(1, 0), 500);
});
