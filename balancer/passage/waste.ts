// What of the workers' time went into pictures that nobody got. Pure. Drawing cannot be cancelled, so this is what clients
// who leave, deadlines that were too short and workers that fail cost the others.

import type { Outcome } from './forward.ts';

/** Why an attempt was for nothing; a label of `toonfleet_wasted_seconds_total`. */
export type WasteReason = 'client_gone' | 'deadline_exceeded' | 'lost' | 'rubbish' | 'error_answer';

/** Why an attempt was for nothing, or undefined when it was of use or took no slot. */
export function wasteOf(outcome: Outcome, isStillWanted: boolean): WasteReason | undefined {
  switch (outcome.kind) {
    case 'answer':
      if (outcome.status === 500 || outcome.status === 502) return 'error_answer';
      return isStillWanted ? undefined : 'client_gone';
    case 'timeout':
      return 'deadline_exceeded';
    case 'lost':
      return outcome.phase === 'connect' ? undefined : 'lost';
    case 'rubbish':
      return 'rubbish';
    case 'busy':
    case 'draining':
      return undefined;
  }
}
