import assert from 'node:assert/strict';
import test from 'node:test';
import type { Outcome } from './forward.ts';
import {
  afterAttempt,
  type History,
  isKeepAliveRace,
  type RetryLoad,
  type RetryVerdict,
  withinBudget,
} from './retry.ts';

const lost = (phase: 'connect' | 'sent' | 'answering', more: object = {}): Outcome => ({
  kind: 'lost',
  phase,
  reusedSocket: false,
  slotFreed: false,
  afterMs: 500,
  cause: undefined,
  ...more,
});
const answer = (status: number): Outcome => ({ kind: 'answer', status, headers: {}, body: Buffer.alloc(0) });
const FRESH: History = { deaths: 0, charged: 0, attempts: 1 };
const CALM: RetryLoad = { active: 10, retrying: 0 };
const STORM: RetryLoad = { active: 10, retrying: 3 };

const replay = (
  reason: 'connect' | 'lost' | 'rubbish' | 'error_answer',
  charged: boolean,
  death: boolean,
): RetryVerdict => ({
  kind: 'replay',
  reason,
  charged,
  death,
});
const fail = (code: 'upstream_failed' | 'deadline_exceeded'): RetryVerdict => ({ kind: 'fail', code });

const cases: {
  name: string;
  outcome: Outcome;
  history?: Partial<History>;
  load?: RetryLoad;
  leftMs?: number;
  verdict: RetryVerdict;
}[] = [
  { name: 'a picture is passed on', outcome: answer(200), verdict: { kind: 'settle' } },
  { name: 'a refusal of the picture is passed on', outcome: answer(422), verdict: { kind: 'settle' } },
  { name: 'a full store is passed on', outcome: answer(507), verdict: { kind: 'settle' } },
  {
    name: 'a deadline that the worker saw pass is passed on',
    outcome: answer(504),
    verdict: { kind: 'settle' },
  },
  {
    name: 'an internal error is tried elsewhere, charged',
    outcome: answer(500),
    verdict: replay('error_answer', true, false),
  },
  {
    name: 'an internal error in a storm is the end',
    outcome: answer(500),
    load: STORM,
    verdict: fail('upstream_failed'),
  },
  {
    name: 'one request is charged twice at most',
    outcome: answer(500),
    history: { charged: 2 },
    verdict: fail('upstream_failed'),
  },
  {
    name: 'busy goes back to its place',
    outcome: { kind: 'busy' },
    load: STORM,
    verdict: { kind: 'return', why: 'busy' },
  },
  {
    name: 'draining goes back to its place',
    outcome: { kind: 'draining' },
    load: STORM,
    verdict: { kind: 'return', why: 'draining' },
  },
  {
    name: 'a refused connection costs nothing',
    outcome: lost('connect'),
    load: STORM,
    verdict: replay('connect', false, false),
  },
  {
    name: 'a refused connection costs nothing even after a death',
    outcome: lost('connect'),
    history: { deaths: 1 },
    verdict: replay('connect', false, false),
  },
  {
    name: 'the first death is free',
    outcome: lost('sent'),
    load: STORM,
    verdict: replay('lost', false, true),
  },
  {
    name: 'a death half-way through the answer is a death',
    outcome: lost('answering'),
    verdict: replay('lost', false, true),
  },
  {
    name: 'after the second death the picture is poison',
    outcome: lost('sent'),
    history: { deaths: 1 },
    verdict: fail('upstream_failed'),
  },
  {
    name: 'nothing is repeated past the deadline',
    outcome: lost('sent'),
    leftMs: 0,
    verdict: fail('deadline_exceeded'),
  },
  {
    name: 'nothing is repeated past the deadline, not even for free',
    outcome: lost('connect'),
    leftMs: -1,
    verdict: fail('deadline_exceeded'),
  },
  { name: 'a timeout is the end', outcome: { kind: 'timeout' }, verdict: fail('deadline_exceeded') },
  {
    name: 'rubbish is tried elsewhere, charged',
    outcome: { kind: 'rubbish', why: '' },
    verdict: replay('rubbish', true, false),
  },
  {
    name: 'no request is tried for ever',
    outcome: lost('connect'),
    history: { attempts: 8 },
    verdict: fail('upstream_failed'),
  },
];
for (const { name, outcome, history, load = CALM, leftMs = 1000, verdict } of cases) {
  test(name, () => assert.deepEqual(afterAttempt(outcome, { ...FRESH, ...history }, load, leftMs), verdict));
}

test('the budget is a fifth of the active requests, at least three', () => {
  assert.equal(withinBudget({ active: 1, retrying: 2 }), true);
  assert.equal(withinBudget({ active: 1, retrying: 3 }), false);
  assert.equal(withinBudget({ active: 100, retrying: 19 }), true);
  assert.equal(withinBudget({ active: 100, retrying: 20 }), false);
});

const races: { name: string; outcome: Outcome; race: boolean }[] = [
  {
    name: 'a reset at once on a reused connection',
    outcome: lost('sent', { reusedSocket: true, afterMs: 2 }),
    race: true,
  },
  { name: 'a reset at once on a fresh connection', outcome: lost('sent', { afterMs: 2 }), race: false },
  {
    name: 'a late reset on a reused connection',
    outcome: lost('sent', { reusedSocket: true, afterMs: 800 }),
    race: false,
  },
  {
    name: 'a reset within the answer',
    outcome: lost('answering', { reusedSocket: true, afterMs: 2 }),
    race: false,
  },
  {
    name: 'a reset after the picture was drawn',
    outcome: lost('sent', { reusedSocket: true, afterMs: 2, slotFreed: true }),
    race: false,
  },
  { name: 'an answer', outcome: answer(200), race: false },
];
for (const { name, outcome, race } of races)
  test(`${name} is ${race ? 'a' : 'no'} keep-alive race`, () => assert.equal(isKeepAliveRace(outcome), race));
