// Which release a client's pictures go to: shares by weight, and always the same one for the same client. Pure.
//
// Every release draws a lot for the client, from a hash of both names; a larger weight makes the lot better, and the best
// lot wins (weighted rendezvous). So every balancer comes to the same answer without asking, and when one weight
// changes, only clients of that release move, into it or out of it.

import { createHash } from 'node:crypto';

/** Shares by release; only their proportions matter. 0 keeps a release for those who ask for it by name. */
export type Weights = Readonly<Record<string, number>>;

/** What a release may be called. */
export const RELEASE_NAME = /^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$/;
export const MAX_WEIGHT = 1_000_000;
export const MAX_RELEASES = 20;

/** What is wrong with weights, as a sentence; undefined when nothing is. */
export function faultOfWeights(weights: Readonly<Record<string, unknown>>): string | undefined {
  const entries = Object.entries(weights);
  if (entries.length === 0)
    return 'No release is named; send {"RELEASE": WEIGHT}, such as {"1.4.0": 95, "1.5.0": 5}.';
  if (entries.length > MAX_RELEASES) return `At most ${MAX_RELEASES} releases may be named.`;
  for (const [release, weight] of entries) {
    if (!RELEASE_NAME.test(release))
      return `"${release.slice(0, 70)}" is no release's name: letters, digits, dots, plus signs and dashes, at most 64.`;
    if (typeof weight !== 'number' || !Number.isFinite(weight) || weight < 0 || weight > MAX_WEIGHT)
      return `The weight of ${release} is ${shown(weight)}; allowed is a number from 0 to ${MAX_WEIGHT}.`;
  }
  if (entries.every(([, weight]) => weight === 0))
    return 'All weights are 0, so nobody would be served; to hold all requests, use pause.';
  return undefined;
}

/** The releases that share the traffic, best first for this client. */
export function preference(weights: Weights, client: string): string[] {
  const sharing = Object.entries(weights).filter(([, weight]) => weight > 0);
  if (sharing.length < 2) return sharing.map(([release]) => release);
  return sharing
    .map(([release, weight]) => ({ release, lot: -Math.log(uniform(release, client)) / weight }))
    .sort((a, b) => a.lot - b.lot || (a.release < b.release ? -1 : 1))
    .map(({ release }) => release);
}

/** How large a release's share is, 0 to 1. */
export function shareOf(weights: Weights, release: string): number {
  const all = Object.values(weights).reduce((sum, weight) => sum + weight, 0);
  return all > 0 ? (weights[release] ?? 0) / all : 0;
}

/** In (0, 1), the same for the same two names. */
function uniform(release: string, client: string): number {
  const digest = createHash('sha256').update(release).update('\0').update(client).digest();
  return (digest.readUIntBE(0, 6) + 0.5) / 2 ** 48;
}

const shown = (value: unknown) => (JSON.stringify(value) ?? String(value)).slice(0, 40);
