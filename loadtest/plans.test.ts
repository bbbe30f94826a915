import assert from 'node:assert/strict';
import test from 'node:test';
import type { StepSpec } from './generator.ts';
import { PLANS, type PlanName } from './plans/index.ts';
import { type PlanSettings, stopAfter } from './plans/plan.ts';
import { memoryGrowth } from './plans/soak.ts';
import { recoveryS } from './plans/spike.ts';
import { littleGap } from './plans/steps.ts';
import { stressFaults } from './plans/stress.ts';
import { aStep } from './result.example.ts';
import type { Second, Slo, Step } from './result.ts';

const slo: Slo = { p95_ms: 3000, max_error_rate: 0.01, max_cpu: null, max_worker_memory_mb: null };
const settings: PlanSettings = {
  step: 10,
  requests: 100,
  confirm: 20,
  precision: 0.05,
  startQps: 4,
  maxQps: 2000,
  qps: undefined,
  ceilingQps: undefined,
  duration: undefined,
  users: [5, 10, 20],
  reloadCommand: 'true',
  deadlineMs: undefined,
};
const latency = (p95: number) => ({ mean: p95 / 2, p50: p95 / 2, p90: p95, p95, p99: p95, max: p95 });

/** Plays a plan against a server that is a function of the load. */
async function play(
  name: PlanName,
  server: (spec: StepSpec, rate: number, users: number) => Partial<Step> | Promise<Partial<Step>>,
  changes: Partial<PlanSettings> = {},
  level: Slo = slo,
) {
  const specs: StepSpec[] = [];
  const answer = await PLANS[name].plan(
    {
      slo: level,
      interrupted: new AbortController().signal,
      pictureMs: 100,
      say: () => {},
      run: async (spec) => {
        specs.push(spec);
        const rate = spec.load.model === 'open' ? (spec.load.stretches[0]?.rate ?? 0) : 0;
        const users = spec.load.model === 'closed' ? spec.load.users : 0;
        return aStep({ label: spec.label, purpose: spec.purpose, ...(await server(spec, rate, users)) });
      },
    },
    { ...settings, ...changes },
  );
  return { answer, specs };
}

const capacityOf =
  (capacity: number) =>
  (_: StepSpec, rate: number): Partial<Step> => ({
    offered_qps: rate,
    achieved_qps: Math.min(rate, capacity),
    verdict: rate <= capacity ? 'met' : 'not met',
  });

test('the ceiling of a server is found and confirmed', async () => {
  const { answer, specs } = await play('ceiling', capacityOf(23));
  assert.equal(answer.verdict, 'met');
  assert.ok((answer.ceiling_qps ?? 0) <= 23 && (answer.ceiling_qps ?? 0) > 21);
  assert.ok((answer.confirmed_qps ?? 0) > 0.9 * (answer.ceiling_qps ?? 0));
  assert.equal(specs.at(-1)?.purpose, 'confirm');
});

test('a step that is invalid is tried three times before the run is', async () => {
  const { answer, specs } = await play('ceiling', () => ({
    verdict: 'invalid',
    why: 'the generator was late',
  }));
  assert.equal(answer.verdict, 'invalid');
  assert.match(answer.sentence, /generator was late/);
  assert.equal(specs.length, 3);
});

test('one invalid step among good ones does no harm', async () => {
  let once = true;
  const { answer } = await play('ceiling', (spec, rate) => {
    if (spec.purpose === 'bisect' && once) {
      once = false;
      return { verdict: 'invalid', why: 'late' };
    }
    return capacityOf(23)(spec, rate);
  });
  assert.equal(answer.verdict, 'met');
});

test('429 is the rate limit and not the ceiling', async () => {
  const { answer } = await play('ceiling', () => ({
    ok: 200,
    limited: 400,
    error_rate: 0.66,
    verdict: 'not met',
  }));
  assert.equal(answer.verdict, 'invalid');
  assert.match(answer.sentence, /you met the rate limit, not the ceiling/);
  assert.equal(answer.ceiling_qps, null);
});

test('Ctrl-C, a dead server and a broken one end every plan at once', async () => {
  const endings: { step: Partial<Step>; verdict: string }[] = [
    { step: { ended: 'interrupted' }, verdict: 'interrupted' },
    { step: { ended: 'aborted', why: 'the server is gone' }, verdict: 'aborted' },
    {
      step: { requests: 100, ok: 20, failed: 80, reasons: { 502: 80 }, verdict: 'not met' },
      verdict: 'aborted',
    },
  ];
  for (const { step, verdict } of endings) {
    for (const name of Object.keys(PLANS) as PlanName[]) {
      const { answer, specs } = await play(name, () => step, { qps: 5, ceilingQps: 5 });
      assert.deepEqual([name, answer.verdict, specs.length], [name, verdict, 1]);
    }
  }
});

test('a worker that has grown fails the run, not every rate', async () => {
  const memory = { name: 'memory' as const, found: '900 MB', limit: '≤ 500 MB', met: false };
  const fat = (spec: StepSpec, rate: number): Partial<Step> =>
    rate <= 23
      ? { worker_memory_mb: 900, clauses: [memory], verdict: 'not met', achieved_qps: rate }
      : capacityOf(23)(spec, rate);
  const { answer } = await play('ceiling', fat, {}, { ...slo, max_worker_memory_mb: 500 });
  assert.equal(answer.verdict, 'not met');
  assert.ok((answer.ceiling_qps ?? 0) > 21);
  assert.match(answer.sentence, /^The ceiling is .* But a worker grew to 900 MB \(allowed: 500 MB\)\.$/);
});

test('steps tell the most users that are served, and stop where more would only wait', async () => {
  const { answer, specs } = await play(
    'steps',
    (_, __, users) => ({
      users,
      model: 'closed',
      latency_ms: latency(users * 400),
      verdict: users * 400 <= 3000 ? 'met' : 'not met',
    }),
    { users: [5, 50, 100] },
  );
  assert.equal(answer.verdict, 'not met');
  assert.match(answer.sentence, /^5 users/);
  assert.equal(specs.length, 2);
});

test('a plan that needs a ceiling finds it first, and takes a given one', async () => {
  const found = await play('soak', capacityOf(23));
  assert.ok(found.specs.length > 3);
  assert.match(found.answer.sentence, /^15\.|^16\./);
  const given = await play('soak', capacityOf(23), { ceilingQps: 20 });
  assert.deepEqual(
    given.specs.map(({ label }) => label),
    ['14.0/s'],
  );
});

const reload = { qps: 5, duration: 0.03 };
/** A load that goes on until the reload, which begins at a third of it, is over. */
const whileReloading = (step: Partial<Step>) => async (): Promise<Partial<Step>> => {
  await new Promise((resolve) => setTimeout(resolve, 150));
  return step;
};

test('a reload that loses no request is met when the load outlasts it', async () => {
  const { answer } = await play('reload', whileReloading({}), {
    ...reload,
    duration: 0.3,
    reloadCommand: 'true',
  });
  assert.equal(answer.verdict, 'met');
  assert.match(answer.sentence, /^0 of 600 requests were lost/);
});

test('a reload that loses one request has failed', async () => {
  const { answer } = await play('reload', whileReloading({ ok: 599, failed: 1 }), reload);
  assert.equal(answer.verdict, 'not met');
  assert.match(answer.sentence, /^1 of 600 requests/);
});

test('a reload command that fails is told with its last words', async () => {
  const command = 'echo no such fleet >&2; exit 3';
  const { answer } = await play('reload', whileReloading({}), { ...reload, reloadCommand: command });
  assert.equal(answer.verdict, 'aborted');
  assert.match(answer.sentence, /exit 3.*no such fleet/);
});

const second = (t: number, changes: Partial<Second> = {}): Second => ({
  t,
  sent: 10,
  ok: 10,
  shed: 0,
  failed: 0,
  p50: 100,
  p95: 200,
  p99: 300,
  in_flight: 2,
  queue_ms: null,
  cpu: null,
  queue_length: null,
  worker_memory_mb: null,
  ...changes,
});

test('recovery is the first of three calm seconds in a row', () => {
  const late = { p95: 5000 };
  const seconds = [second(10, late), second(11), second(12, late), second(13), second(14), second(15)];
  assert.equal(recoveryS(seconds, 9, slo), 3);
  assert.equal(recoveryS(seconds.slice(0, 4), 9, slo), null);
  assert.equal(recoveryS([second(10), second(11), second(12)], 9, slo), 0);
  assert.equal(recoveryS([second(10, { shed: 1 }), second(11), second(12), second(13)], 9, slo), 1);
});

test('stress names everything that a fair server would not have done', () => {
  const fair = [aStep({ achieved_qps: 20 }), aStep({ achieved_qps: 19, shed: 300, refusal_ms: latency(20) })];
  assert.deepEqual(stressFaults(fair, 2, 5000), []);
  const unfair = [
    aStep({ achieved_qps: 20 }),
    aStep({ achieved_qps: 9, refusal_ms: latency(800), latency_ms: latency(9000), failed: 3, label: '3×' }),
  ];
  const faults = stressFaults(unfair, null, 5000).join('; ');
  for (const word of [
    /goodput fell to 45 %/,
    /refusals took 400 ms/,
    /after their deadline/,
    /3 requests failed/,
    /not well again/,
  ])
    assert.match(faults, word);
});

test('memory growth compares the last quarter with the second', () => {
  const seconds = (values: number[]) => values.map((worker_memory_mb) => ({ worker_memory_mb }));
  assert.equal(memoryGrowth(seconds([1, 2])), null);
  const flat = memoryGrowth(seconds([...Array(5).fill(250), ...Array(15).fill(300)] as number[]));
  assert.equal(flat, 0);
  const leak = memoryGrowth(seconds(Array.from({ length: 20 }, (_, i) => 300 + 10 * i)));
  assert.ok((leak ?? 0) > 0.2);
});

test('Little’s law checks the measurement of users', () => {
  const step = aStep({
    model: 'closed',
    achieved_qps: 20,
    in_flight_mean: 10,
    latency_ms: { ...latency(600), mean: 500 },
  });
  assert.equal(littleGap(step), 0);
  assert.ok((littleGap({ ...step, in_flight_mean: 8 }) ?? 0) > 0.2);
});

test('a step that only shows something stops nothing', () => {
  assert.equal(stopAfter(aStep({ verdict: 'not graded', shed: 500, ok: 100 })), undefined);
});
