import assert from 'node:assert/strict';
import test from 'node:test';
import type { Outcome } from './forward.ts';
import { type WasteReason, wasteOf } from './waste.ts';

const answer = (status: number): Outcome => ({ kind: 'answer', status, headers: {}, body: Buffer.alloc(0) });
const lost = (phase: 'connect' | 'sent' | 'answering'): Outcome => ({
  kind: 'lost',
  phase,
  reusedSocket: false,
  slotFreed: false,
  afterMs: 1,
  cause: undefined,
});

const cases: { name: string; outcome: Outcome; wanted?: boolean; waste: WasteReason | undefined }[] = [
  { name: 'a picture that its client gets', outcome: answer(200), waste: undefined },
  { name: 'a refusal that its client gets', outcome: answer(422), waste: undefined },
  { name: 'a picture whose client is gone', outcome: answer(200), wanted: false, waste: 'client_gone' },
  { name: 'an error of the worker', outcome: answer(500), waste: 'error_answer' },
  { name: 'an overrun deadline', outcome: { kind: 'timeout' }, waste: 'deadline_exceeded' },
  { name: 'a worker that nobody reached', outcome: lost('connect'), waste: undefined },
  { name: 'a worker that died with the picture', outcome: lost('sent'), waste: 'lost' },
  { name: 'an answer that was cut short', outcome: lost('answering'), waste: 'lost' },
  { name: 'rubbish', outcome: { kind: 'rubbish', why: '' }, waste: 'rubbish' },
  { name: 'a slot that was taken', outcome: { kind: 'busy' }, waste: undefined },
  { name: 'a worker that leaves', outcome: { kind: 'draining' }, wanted: false, waste: undefined },
];
for (const { name, outcome, wanted = true, waste } of cases)
  test(`${name} wastes ${waste ?? 'nothing'}`, () => assert.equal(wasteOf(outcome, wanted), waste));
