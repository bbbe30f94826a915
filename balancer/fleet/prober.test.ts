import assert from 'node:assert/strict';
import test from 'node:test';
import { refusedOrigin, startUpstream } from '../passage/test-upstream.ts';
import { type Asked, ask, targetOf } from './ask.ts';
import { Prober, type Report } from './prober.ts';

const answer = (status: number, body: unknown): Asked => ({ kind: 'answer', status, body });

/** The reports that these answers become. */
function reportsOf(answers: readonly Asked[]): Promise<Report[]> {
  return new Promise((resolve) => {
    const reports: Report[] = [];
    const left = [...answers];
    const prober = new Prober({
      ask: async () => left.shift() ?? { kind: 'refused' },
      intervalMs: 1,
      timeoutMs: 100,
      nodeKey: undefined,
      random: () => 0,
      report(_id, report) {
        reports.push(report);
        if (reports.length < answers.length) return;
        prober.close();
        resolve(reports);
      },
    });
    prober.watch('a', targetOf('http://10.0.0.1:8100'));
  });
}

test('each answer means what it says, and 200 alone means nothing', async () => {
  assert.deepEqual(
    await reportsOf([
      answer(200, { status: 'ready', node: 'vm-1' }),
      answer(200, { status: 'ready' }),
      answer(503, { status: 'loading' }),
      answer(503, { status: 'draining' }),
      answer(200, { status: 'draining' }),
      answer(200, 'welcome'),
      answer(404, { status: 'ready' }),
      { kind: 'refused' },
      { kind: 'failed', why: 'slow' },
    ]),
    [
      { kind: 'passed', node: 'vm-1' },
      { kind: 'passed', node: undefined },
      { kind: 'loading' },
      { kind: 'leaving' },
      { kind: 'failed', why: 'GET /ready answered 200' },
      { kind: 'failed', why: 'GET /ready answered 200' },
      { kind: 'failed', why: 'GET /ready answered 404' },
      { kind: 'refused' },
      { kind: 'failed', why: 'slow' },
    ],
  );
});

test('an upstream that is no longer watched is reported no more', async () => {
  const reports: Report[] = [];
  const answerLate = await new Promise<(asked: Asked) => void>((asking) => {
    const prober = new Prober({
      ask: () =>
        new Promise((resolve) => {
          prober.unwatch('a');
          asking(resolve);
        }),
      intervalMs: 1,
      timeoutMs: 100,
      nodeKey: undefined,
      random: () => 0,
      report: (_id, report) => reports.push(report),
    });
    prober.watch('a', targetOf('http://10.0.0.1:8100'));
  });
  answerLate({ kind: 'refused' });
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(reports, []);
});

test('a question on the wire ends as an answer, a refusal or a failure, in time', async (context) => {
  const upstream = await startUpstream(context);
  const target = targetOf(upstream.url);
  assert.deepEqual(await ask(target, '/ready', {}, 1000), answer(200, { status: 'ready', node: 'vm-test' }));
  upstream.ready = undefined;
  assert.deepEqual(await ask(target, '/ready', {}, 30), { kind: 'failed', why: 'no answer within 30 ms' });
  assert.deepEqual(await ask(targetOf(await refusedOrigin()), '/ready', {}, 1000), { kind: 'refused' });
});
