// Searches the highest rate that meets the service level: a geometric ramp until a rate fails, bisection between the
// last that passed and the first that failed, and a long confirmation a little below. Pure: it is told what each
// rate came to and says what to try next.
//
//   ramping ──fails──► bisecting ──close enough──► confirming ──passes──► done
//      │                                              │ fails: the ceiling was lower than it looked
//      └──fails at the first rate: lower it           └──────────► confirming lower (a few times) ──► done

/** How to search. */
export interface CeilingSettings {
  /** The first rate, pictures a second. */
  readonly startQps: number;
  /** Each rate of the ramp over the one before. */
  readonly factor: number;
  /** How far apart the last pass and the first failure may be in the end, as a share. */
  readonly precision: number;
  /** Where to confirm, as a share of the ceiling. */
  readonly confirmAt: number;
  /** Where the ramp gives up: the generator or the operator's patience. */
  readonly maxQps: number;
  /** Below this rate the search says that there is no ceiling worth a number. */
  readonly minQps: number;
}

export const CEILING_DEFAULTS: Omit<CeilingSettings, 'startQps'> = {
  factor: 1.5,
  precision: 0.05,
  confirmAt: 0.95,
  maxQps: 2000,
  minQps: 0.02,
};

/** What one rate came to. */
export interface Trial {
  readonly qps: number;
  readonly passed: boolean;
  readonly purpose: 'ramp' | 'bisect' | 'confirm';
}

/** What to do next. */
export type NextMove =
  | { readonly kind: 'try'; readonly purpose: Trial['purpose']; readonly qps: number }
  | {
      readonly kind: 'done';
      /** The highest rate that passed; null when none did. */
      readonly ceilingQps: number | null;
      /** The lowest rate that failed; null when none did up to the maximum. */
      readonly aboveQps: number | null;
      /** The rate that passed its confirmation; null when none did. */
      readonly confirmedQps: number | null;
    };

/** How often a failed confirmation may lower the ceiling. */
const MAX_CONFIRMATIONS = 5;

/** The next move after these trials. */
export function nextMove(settings: CeilingSettings, trials: readonly Trial[]): NextMove {
  const confirmations = trials.filter(({ purpose }) => purpose === 'confirm');
  const search = trials.filter(({ purpose }) => purpose !== 'confirm');
  const lowestFailure = lowest(trials.filter(({ passed }) => !passed));
  // A rate that failed later on counts against every pass above it.
  const highestPass = highest(
    trials.filter(({ qps, passed }) => passed && (lowestFailure === null || qps < lowestFailure)),
  );

  const last = confirmations.at(-1);
  if (last?.passed) {
    return { kind: 'done', ceilingQps: highestPass, aboveQps: lowestFailure, confirmedQps: last.qps };
  }
  if (confirmations.length >= MAX_CONFIRMATIONS) {
    return { kind: 'done', ceilingQps: highestPass, aboveQps: lowestFailure, confirmedQps: null };
  }
  if (last) return { kind: 'try', purpose: 'confirm', qps: last.qps * settings.confirmAt };

  if (lowestFailure === null) {
    const top = highest(search);
    if (top === null)
      return { kind: 'try', purpose: 'ramp', qps: Math.min(settings.startQps, settings.maxQps) };
    if (top >= settings.maxQps) return { kind: 'done', ceilingQps: top, aboveQps: null, confirmedQps: null };
    return { kind: 'try', purpose: 'ramp', qps: Math.min(settings.maxQps, top * settings.factor) };
  }
  if (highestPass === null) {
    const lower = lowestFailure / settings.factor ** 2;
    return lower < settings.minQps
      ? { kind: 'done', ceilingQps: null, aboveQps: lowestFailure, confirmedQps: null }
      : { kind: 'try', purpose: 'ramp', qps: lower };
  }
  if (lowestFailure / highestPass > 1 + settings.precision) {
    return { kind: 'try', purpose: 'bisect', qps: Math.sqrt(lowestFailure * highestPass) };
  }
  return { kind: 'try', purpose: 'confirm', qps: highestPass * settings.confirmAt };
}

const highest = (trials: readonly Trial[]) =>
  trials.length === 0 ? null : Math.max(...trials.map(({ qps }) => qps));
const lowest = (trials: readonly Trial[]) =>
  trials.length === 0 ? null : Math.min(...trials.map(({ qps }) => qps));
