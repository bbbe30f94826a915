// How many there should be: the arithmetic of Kubernetes' HorizontalPodAutoscaler. Pure: signals, bounds and the time come
// in, a number with its reasons goes out. Knows neither workers nor VMs; both are counted with it.
//
//   desired = ceil(current × value / target); within the tolerance nothing changes; the largest of the signals wins; one
//   that is missing forbids to go down. Of the recommendations of the last `down_after` the highest, of the last `up_after`
//   the lowest counts; then the bounds.
//
// Left out on purpose: HPA's limit on how fast it may go up (double, or four, in 15 s), since a VM has few workers.

/** What is looked at. `say` writes a value for people. */
export type Signal = {
  readonly name: string;
  readonly target: number;
  readonly say: (value: number) => string;
} & (
  | {
      /** A share of what each has, 0 to 1, of those that have been measured. */
      readonly kind: 'each';
      readonly values: readonly number[];
      /** How many work, but not for long enough to be measured. */
      readonly unmeasured: number;
    }
  | {
      /** One value for all of them; undefined when nobody tells it. */
      readonly kind: 'whole';
      readonly value: number | undefined;
    }
);

/** What the signals come to, before anything is smoothed or bounded. */
export interface Recommendation {
  readonly count: number;
  /** The signal that decided. */
  readonly by: string;
  /** The arithmetic in words. */
  readonly words: string;
}

/** One recommendation of the past. */
export interface Advice {
  readonly at: number;
  readonly count: number;
}

export interface Bounds {
  readonly min: number;
  readonly max: number;
}

/** How cautious the arithmetic is. Times in ms, the tolerance as a share. */
export interface Caution {
  readonly tolerance: number;
  readonly upAfterMs: number;
  readonly downAfterMs: number;
}

export interface Verdict {
  readonly desired: number;
  readonly by: string;
  readonly words: string;
  /** To be given back the next time. */
  readonly history: readonly Advice[];
}

/** What the signals ask for. `current` is how many there are. */
export function recommend(signals: readonly Signal[], current: number, tolerance: number): Recommendation {
  const proposals = signals.map((signal) => ({ signal, ...propose(signal, current, tolerance) }));
  const told = proposals.filter(({ count }) => count !== undefined);
  const missing = proposals.filter(({ count }) => count === undefined).map(({ signal }) => signal.name);
  const best = told.reduce<(typeof told)[number] | undefined>(
    (most, each) => (most === undefined || (each.count ?? 0) > (most.count ?? 0) ? each : most),
    undefined,
  );
  if (best?.count === undefined)
    return {
      count: current,
      by: 'nothing',
      words: `nothing is known (${missing.join(', ') || 'no signal is set'})`,
    };
  const lost = missing.length === 0 ? '' : `; ${missing.join(', ')}: unknown`;
  if (best.count < current && missing.length > 0)
    return { count: current, by: 'missing', words: `${best.words}, but not fewer${lost}` };
  return { count: best.count, by: best.signal.name, words: best.words + lost };
}

/** One signal's proposal; no count when it is missing. */
function propose(
  signal: Signal,
  current: number,
  tolerance: number,
): { count: number | undefined; words: string } {
  const { name, target, say } = signal;
  const sum = (count: number, mean: number, ratio: number) => ({
    count,
    words: `${name}: ${current} × ${say(mean)} / ${say(target)} = ${(current * ratio).toFixed(2)}${
      isClose(ratio, tolerance) ? ', within the tolerance' : ''
    } → ${count}`,
  });
  const away = (ratio: number) => !isClose(ratio, tolerance);
  if (signal.kind === 'whole') {
    if (signal.value === undefined) return { count: undefined, words: '' };
    const ratio = signal.value / target;
    return sum(away(ratio) ? ceil(current * ratio) : current, signal.value, ratio);
  }
  const { values, unmeasured } = signal;
  if (values.length === 0) return { count: undefined, words: '' };
  const total = values.reduce((all, value) => all + value, 0);
  const mean = total / values.length;
  const first = mean / target;
  // Who cannot be measured yet counts as idle on the way up and as busy on the way down, and never turns the way around.
  const guess = first > 1 ? 0 : 1;
  const all = values.length + unmeasured;
  const cautious = (total + guess * unmeasured) / all / target;
  const turned = first > 1 ? cautious <= 1 : cautious >= 1;
  const ratio = turned ? 1 : cautious;
  return sum(away(first) && away(ratio) ? ceil(all * ratio) : current, ratio * target, ratio);
}

/** What a sum of fractions may be off. */
const EPSILON = 1e-9;
const isClose = (ratio: number, tolerance: number) => Math.abs(ratio - 1) <= tolerance + EPSILON;
/** 2.0000000000000004 workers are two. */
const ceil = (count: number) => Math.max(0, Math.ceil(count - EPSILON));

/** The recommendation, smoothed over time and kept within the bounds. */
export function settle(
  { count, by, words }: Recommendation,
  past: readonly Advice[],
  current: number,
  bounds: Bounds,
  caution: Caution,
  now: number,
): Verdict {
  const longest = Math.max(caution.upAfterMs, caution.downAfterMs);
  const recent = past.filter(({ at }) => now - at < longest);
  const within = (ms: number) => [
    count,
    ...recent.filter(({ at }) => now - at < ms).map((advice) => advice.count),
  ];
  const up = Math.min(...within(caution.upAfterMs));
  const down = Math.max(...within(caution.downAfterMs));
  const smooth = up > current ? up : Math.min(down, current);
  const desired = Math.min(bounds.max, Math.max(bounds.min, smooth));
  const held =
    smooth === count
      ? ''
      : `; ${smooth} for now, as over the last ${seconds(smooth > count ? caution.downAfterMs : caution.upAfterMs)}`;
  const bounded = desired === smooth ? '' : `; ${desired} by the bounds ${bounds.min} to ${bounds.max}`;
  return {
    desired,
    by: desired === smooth ? by : 'bounds',
    words: words + held + bounded,
    history: [...recent, { at: now, count }],
  };
}

const seconds = (ms: number) => `${ms / 1000} s`;
