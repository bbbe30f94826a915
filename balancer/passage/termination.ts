// How a request ended, in two letters for the access line. Pure. docs/balancer.md lists them for operators.

import type { ErrorCode } from '../../config/errors.ts';

/** Where a request is on its way. */
export type Phase = 'head' | 'upload' | 'queue' | 'node' | 'answer';

const PHASE_LETTERS: Readonly<Record<Phase, string>> = {
  head: 'H',
  upload: 'U',
  queue: 'Q',
  node: 'N',
  answer: 'A',
};

/**
 * The first letter says who or what ended it, the second in which phase: `--` is an answer that went its way.
 * C client gone, R refused for what it was, S shed for load, L limit of the client, D deadline, W workers failed,
 * N nobody usable, I our own fault.
 */
export function terminationOf(code: ErrorCode | undefined, gone: boolean, phase: Phase): string {
  if (gone || code === 'client_gone') return `C${PHASE_LETTERS[phase]}`;
  return code === undefined ? '--' : causeLetter(code) + PHASE_LETTERS[phase];
}

function causeLetter(code: ErrorCode): string {
  switch (code) {
    case 'overloaded':
      return 'S';
    case 'rate_limited':
      return 'L';
    case 'deadline_exceeded':
      return 'D';
    case 'upstream_failed':
      return 'W';
    case 'no_upstream':
    case 'draining':
      return 'N';
    case 'internal_error':
    case 'storage_full':
      return 'I';
    default:
      return 'R';
  }
}
