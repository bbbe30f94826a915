// Chance with a seed: the same seed draws the same photos, arrivals and styles on every machine. Pure.

/** Gives numbers in [0, 1), like Math.random. */
export type Random = () => number;

/** Mulberry32: small, fast, and good enough to draw arrivals; not for secrets. */
export function seeded(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** A generator of its own for one purpose, so that drawing more of one thing does not change another. */
export function seededFor(seed: number, purpose: string): Random {
  let hash = seed >>> 0;
  for (const char of purpose) hash = Math.imul(hash ^ (char.codePointAt(0) ?? 0), 0x01000193) >>> 0;
  return seeded(hash);
}
