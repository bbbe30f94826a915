// Takes an upstream out that passes its checks but fails at its work: error answers, rubbish, lost connections, overrun
// deadlines. Pure. Health checks are `upstream.ts`'s business, and neither undoes the other.
//
//              5 faults in a row, when the caps allow it
//      in ───────────────────────────────────────────────► out, for 5 s × 2^n, at most 60 s, ± 20 %
//       ▲                                                   │  ▲
//       │ success                         the term is over  │  │ fault: out again, n + 1
//       └──────────────────────────────────── half-open ◄───┘  │
//                                          (one request) ──────┘
//
// Caps: never the last one, never over half of those that are healthy by their checks. A fleet whose every worker fails
// has another fault than its workers, and half a fleet that works now and then is better than none.

export type OutlierState =
  /** `faults` in a row; `terms` that it was out already, forgotten when it was good for {@link FORGIVEN_MS}. */
  | { readonly kind: 'in'; readonly faults: number; readonly terms: number; readonly since: number }
  /** Out until then; afterwards half-open. */
  | { readonly kind: 'out'; readonly until: number; readonly terms: number };

export const SOUND: OutlierState = { kind: 'in', faults: 0, terms: 0, since: Number.NEGATIVE_INFINITY };

/** So many faults in a row take an upstream out. */
export const FAULTS = 5;
const FIRST_TERM_MS = 5000;
const LONGEST_TERM_MS = 60_000;
/** Terms are spread by this part in both directions, so that upstreams that failed together do not return together. */
const JITTER = 0.2;
/** After so long without being taken out again, the next term is the first one. */
const FORGIVEN_MS = 120_000;

/** How many upstreams are healthy by their checks, and how many of these are out or half-open. */
export interface Census {
  readonly healthy: number;
  readonly out: number;
}

/** The state after one request has ended there; the same object when nothing changed. */
export function afterWork(
  state: OutlierState,
  end: 'success' | 'fault',
  census: Census,
  now: number,
  random: () => number,
): OutlierState {
  switch (state.kind) {
    case 'in': {
      if (end === 'success') return state.faults === 0 ? state : { ...state, faults: 0 };
      const faults = state.faults + 1;
      if (faults < FAULTS || !mayEject(census)) return { ...state, faults };
      const terms = now - state.since > FORGIVEN_MS ? 0 : state.terms;
      return { kind: 'out', until: now + termMs(terms, random), terms: terms + 1 };
    }
    case 'out':
      // What ends before the term does was given out before it: it says nothing new.
      if (now < state.until) return state;
      return end === 'success'
        ? { kind: 'in', faults: 0, terms: state.terms, since: now }
        : { kind: 'out', until: now + termMs(state.terms, random), terms: state.terms + 1 };
  }
}

/** Whether an upstream in this state may be counted on at all. */
export function counts(state: OutlierState, now: number): boolean {
  return state.kind === 'in' || now >= state.until;
}

/** How many of its slots it may use: one request shows whether it is well again. */
export function slotsOf(state: OutlierState, slots: number): number {
  return state.kind === 'in' ? slots : 1;
}

function mayEject({ healthy, out }: Census): boolean {
  return out + 1 < healthy && (out + 1) * 2 <= healthy;
}

function termMs(terms: number, random: () => number): number {
  const base = Math.min(LONGEST_TERM_MS / (1 + JITTER), FIRST_TERM_MS * 2 ** Math.min(terms, 10));
  return base * (1 - JITTER + 2 * JITTER * random());
}
