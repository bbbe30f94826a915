import assert from 'node:assert/strict';
import test from 'node:test';
import { ERRORS, type ErrorCode } from '../../config/errors.ts';
import { type Phase, terminationOf } from './termination.ts';

const CASES: { code: ErrorCode | undefined; gone: boolean; phase: Phase; letters: string }[] = [
  { code: undefined, gone: false, phase: 'answer', letters: '--' },
  { code: 'client_gone', gone: true, phase: 'upload', letters: 'CU' },
  { code: 'client_gone', gone: true, phase: 'queue', letters: 'CQ' },
  { code: undefined, gone: true, phase: 'answer', letters: 'CA' },
  { code: 'overloaded', gone: false, phase: 'head', letters: 'SH' },
  { code: 'overloaded', gone: false, phase: 'queue', letters: 'SQ' },
  { code: 'upload_too_slow', gone: false, phase: 'upload', letters: 'RU' },
  { code: 'bad_request', gone: false, phase: 'head', letters: 'RH' },
  { code: 'deadline_exceeded', gone: false, phase: 'node', letters: 'DN' },
  { code: 'upstream_failed', gone: false, phase: 'node', letters: 'WN' },
  { code: 'no_upstream', gone: false, phase: 'queue', letters: 'NQ' },
  { code: 'internal_error', gone: false, phase: 'head', letters: 'IH' },
];
for (const { code, gone, phase, letters } of CASES)
  test(`${code ?? 'an answer'}${gone ? ', client gone' : ''} in ${phase} is ${letters}`, () =>
    assert.equal(terminationOf(code, gone, phase), letters));

test('every code of the table has two letters', () => {
  for (const code of Object.keys(ERRORS) as ErrorCode[])
    if (code !== 'client_gone') assert.match(terminationOf(code, false, 'node'), /^[A-Z]N$/);
});
