// Whether the shared store is worth asking at this moment. Pure.
//
//            failures in a row                term over: one may try
//   closed ──────────────────────► open ─────────────────────────────► trying
//     ▲                             ▲    failure: a term twice as long   │ │
//     │                             └────────────────────────────────────┘ │
//     └────────────────────────────────────────────────────────────────────┘ success

export type Circuit =
  | { readonly kind: 'closed'; readonly failures: number }
  | { readonly kind: 'open'; readonly until: number; readonly termMs: number }
  | { readonly kind: 'trying'; readonly termMs: number };

export const CLOSED: Circuit = { kind: 'closed', failures: 0 };

/** Failures in a row that open it. */
const FAILURES = 3;
const FIRST_TERM_MS = 1000;
const LAST_TERM_MS = 30_000;

/** The circuit after somebody asked for passage; it may pass unless that is `open` or it was `trying` before. */
export function ask(circuit: Circuit, now: number): { readonly passes: boolean; readonly circuit: Circuit } {
  switch (circuit.kind) {
    case 'closed':
      return { passes: true, circuit };
    case 'open':
      return now < circuit.until
        ? { passes: false, circuit }
        : { passes: true, circuit: { kind: 'trying', termMs: circuit.termMs } };
    case 'trying':
      return { passes: false, circuit };
  }
}

/** The circuit after one who passed has come back. */
export function after(circuit: Circuit, end: 'success' | 'failure', now: number): Circuit {
  switch (circuit.kind) {
    case 'closed':
      if (end === 'success') return circuit.failures === 0 ? circuit : CLOSED;
      return circuit.failures + 1 >= FAILURES
        ? { kind: 'open', until: now + FIRST_TERM_MS, termMs: FIRST_TERM_MS }
        : { kind: 'closed', failures: circuit.failures + 1 };
    case 'trying': {
      if (end === 'success') return CLOSED;
      const termMs = Math.min(LAST_TERM_MS, circuit.termMs * 2);
      return { kind: 'open', until: now + termMs, termMs };
    }
    case 'open':
      // One that had passed before it opened: late news, and no news.
      return circuit;
  }
}
