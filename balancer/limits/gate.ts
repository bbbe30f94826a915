// Who may send a picture now: which key or address a request counts for, and whether its limits, and those of all
// together, let it in. Judged at the headers. Pure; the journey tells it how a request ended.
//
// A token is spent when a request is let in. It is given back when the end was our fault and not the client's
// (REFUNDED), so that a client pays for no 503 of ours. Every other end costs it, also a bad picture and a client that
// leaves. A place is kept until the answer is written or, for a client that left, until its work has ended.

import type { IncomingHttpHeaders } from 'node:http';
import { canonicalAddress, networksOf } from '../../config/address.ts';
import { HEADERS } from '../../config/contract.ts';
import { ToonError } from '../../config/errors.ts';
import type { Settings } from '../../config/schema.ts';
import { formatDuration } from '../../config/units.ts';
import type { Priority } from '../schedule/queue.ts';
import { Allowance, type Excess, type Limits, limitsOf } from './allowance.ts';
import { Clients } from './clients.ts';
import { type PolicyName, rateLimitFields } from './fields.ts';
import { clientAddress } from './forwarded.ts';
import { createKeyring } from './keys.ts';

export type GateSettings = Pick<
  Settings['balancer'],
  'rate_limit' | 'trusted_proxies' | 'forwarded_header' | 'api_keys' | 'api_keys_required'
>;

/** A request as far as the gate looks at it. */
export interface Applicant {
  /** From {@link Gate.whoIs}. */
  readonly client: string;
  readonly headers: IncomingHttpHeaders;
  /** What it asks for itself. */
  readonly priority: Priority;
}

/** A request that was let in. */
export interface Pass {
  /** The name of its key. */
  readonly key: string | undefined;
  readonly priority: Priority;
  /** What its answer says about its limits; nothing where it has none. */
  fields(now: number): Record<string, string>;
  /** Tells the HTTP status that it ended with. Safe to call twice. */
  settle(status: number): void;
  /** Gives its place back. Safe to call twice. */
  leave(now: number): void;
}

export type Verdict =
  | { readonly kind: 'admitted'; readonly pass: Pass }
  | {
      readonly kind: 'refused';
      readonly key: string | undefined;
      readonly error: ToonError;
      readonly headers: Readonly<Record<string, string>>;
    };

export interface Gate {
  /** Whose request it is: the other end of the connection, and the client behind it. */
  whoIs(
    remote: string | undefined,
    headers: IncomingHttpHeaders,
  ): {
    readonly peer: string;
    readonly client: string;
    /** The peer is a trusted proxy. */
    readonly byProxy: boolean;
  };
  admit(applicant: Applicant, now: number): Verdict;
  /** How many addresses (and networks of them) are remembered. */
  readonly remembered: () => number;
}

/**
 * Ends that were our fault, and cost the client nothing. 502 is not among them, since the picture itself may be what kills
 * workers; 504 neither, since the work was done and the deadline is the client's.
 */
const REFUNDED: ReadonlySet<number> = new Set([500, 503, 507]);

/** How long requests keep their places before that is known, and how much each one counts among those before it. */
const START_HELD_MS = 1000;
const FORGET = 0.1;

export function createGate(settings: GateSettings): Gate {
  const { rate_limit, api_keys, api_keys_required } = settings;
  const proxies = { trusted: networksOf(settings.trusted_proxies), header: settings.forwarded_header };
  const perClient = limitsOf(rate_limit);
  const clients =
    perClient && new Clients(perClient, { most: rate_limit.clients, ipv6Prefix: rate_limit.ipv6_prefix });
  const totalLimits = limitsOf(rate_limit.total);
  const total = totalLimits && new Allowance(totalLimits);
  const keyring = createKeyring(
    api_keys.map((key) => {
      const limits = limitsOf(keyLimits(key, rate_limit));
      return { ...key, allowance: limits && new Allowance(limits) };
    }),
  );
  let heldMs = START_HELD_MS;

  function admit({ client, headers, priority }: Applicant, now: number): Verdict {
    const identity = api_keys.length === 0 ? ({ kind: 'none' } as const) : keyring.identify(headers);
    const keyNeeded = api_keys.length > 0 && api_keys_required;
    if (identity.kind === 'wrong' || (identity.kind === 'none' && keyNeeded))
      return unauthorized(identity.kind === 'wrong');
    const known = identity.kind === 'key' ? identity.key : undefined;
    const allowance = known ? known.allowance : clients?.of(client, now);
    const name: PolicyName = known ? 'key' : 'client';

    const counted: { name: PolicyName; allowance: Allowance }[] = [];
    if (allowance) counted.push({ name, allowance });
    if (total) counted.push({ name: 'total', allowance: total });
    for (const each of counted) {
      const kind = each.allowance.exceeded(now);
      if (kind === undefined) continue;
      const excess = each.allowance.refuse(kind, now, heldMs);
      return {
        kind: 'refused',
        key: known?.name,
        error: limited(each.name, each.allowance.limits, excess),
        headers: rateLimitFields(each.name, each.allowance.remainder(now), excess),
      };
    }

    const places = counted.map((each) => each.allowance.take(now));
    let here = true;
    let settled = false;
    return {
      kind: 'admitted',
      pass: {
        key: known?.name,
        // A key for batch work is for nothing else; other keys may ask for batch themselves.
        priority: known?.priority === 'batch' ? 'batch' : priority,
        fields: (at) => (allowance ? rateLimitFields(name, allowance.remainder(at), undefined) : {}),
        settle(status) {
          if (settled || !REFUNDED.has(status)) return;
          settled = true;
          for (const each of counted) each.allowance.giveTokenBack();
        },
        leave(at) {
          if (!here) return;
          here = false;
          heldMs += FORGET * (at - now - heldMs);
          for (const giveBack of places) giveBack();
        },
      },
    };
  }

  return {
    admit,
    remembered: () => clients?.size ?? 0,
    whoIs(remote, headers) {
      const peer = canonicalAddress(remote ?? '') ?? 'unknown';
      return {
        peer,
        client: clientAddress(peer, headers, proxies),
        byProxy: proxies.trusted.has(peer),
      };
    },
  };
}

/** A key's own limits; what it does not say is as for every client. */
function keyLimits(
  key: GateSettings['api_keys'][number],
  every: GateSettings['rate_limit'],
): Parameters<typeof limitsOf>[0] {
  const rate =
    key.requests === undefined
      ? { requests: every.requests, per: every.per, burst: every.burst }
      : { requests: key.requests, per: key.per, burst: key.burst };
  return { ...rate, concurrent: key.concurrent ?? every.concurrent };
}

function unauthorized(wrong: boolean): Verdict {
  return {
    kind: 'refused',
    key: undefined,
    error: new ToonError('unauthorized', {
      detail: wrong
        ? 'This API key is not known here.'
        : 'An API key is needed: send it as "Authorization: Bearer KEY" or as "X-API-Key: KEY".',
    }),
    headers: {
      [HEADERS.authenticate]: `Bearer realm="toonfleet"${wrong ? ', error="invalid_token"' : ''}`,
    },
  };
}

function limited(name: PolicyName, limits: Limits, { kind, retryAfterMs }: Excess): ToonError {
  const who = { client: 'one client', key: 'this API key', total: 'all clients together' }[name];
  const detail =
    kind === 'rate' && limits.rate
      ? `The limit for ${who} is ${limits.rate.burst} pictures at once and then one every ${everyText(limits.rate.everyMs)}.`
      : `The limit for ${who} is ${limits.concurrent} pictures under way at the same time.`;
  return new ToonError('rate_limited', { detail, retryAfterMs }, { cause: `${name}_${kind}` });
}

const everyText = (ms: number) =>
  formatDuration(ms < 1000 ? Math.max(1, Math.round(ms)) : Math.round(ms / 100) * 100);
