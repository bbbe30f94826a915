// What a client is told about its limits: the fields RateLimit-Policy and RateLimit of
// draft-ietf-httpapi-ratelimit-headers-11, as structured fields. Pure.
//
// A bucket of b tokens is told as a quota of b in the time that it takes to fill: that is its rate, and no more than its
// burst. Partition keys are left out: they would tell a client how it is told apart.

import { HEADERS } from '../../config/contract.ts';
import type { Excess, Remainder } from './allowance.ts';
import type { Rate } from './token-bucket.ts';

/** What the policies are called: the client's own (by address or by key), or the one of all clients together. */
export type PolicyName = 'client' | 'key' | 'total';

const seconds = (ms: number) => Math.max(1, Math.ceil(ms / 1000));

/** The fields of one answer. With an excess they say the same as its Retry-After. */
export function rateLimitFields(
  name: PolicyName,
  { limits: { rate, concurrent }, tokens, nextTokenMs, places }: Remainder,
  excess?: Excess,
): Record<string, string> {
  const policies: string[] = [];
  const states: string[] = [];
  if (rate && tokens !== undefined) {
    policies.push(`"${name}";${quotaOf(rate)}`);
    const resetMs = excess?.kind === 'rate' ? excess.retryAfterMs : nextTokenMs;
    states.push(`"${name}";r=${tokens}${resetMs > 0 ? `;t=${seconds(resetMs)}` : ''}`);
  }
  if (concurrent !== undefined && places !== undefined) {
    policies.push(`"${name}-concurrent";q=${concurrent};qu="concurrent-requests"`);
    const resetMs = excess?.kind === 'concurrency' ? excess.retryAfterMs : 0;
    states.push(`"${name}-concurrent";r=${places}${resetMs > 0 ? `;t=${seconds(resetMs)}` : ''}`);
  }
  return { [HEADERS.rateLimitPolicy]: policies.join(', '), [HEADERS.rateLimit]: states.join(', ') };
}

/** A window is whole seconds, at least one; the quota is what comes in it. */
function quotaOf({ burst, everyMs }: Rate): string {
  const window = seconds(burst * everyMs - ROUNDING_MS);
  return `q=${Math.max(burst, Math.floor((window * 1000 + ROUNDING_MS) / everyMs))};w=${window}`;
}

/** 60 s shared out among 7 requests and put together again are not quite 60 s. */
const ROUNDING_MS = 1e-6;
