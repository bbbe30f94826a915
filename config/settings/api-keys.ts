// The list balancer.api_keys: what each client with a key may do. The key itself is not known, only its hash. Pure.

import { z } from 'zod';
import { fault } from './fault.ts';
import { duration, list } from './field.ts';

/** What one API key may do. */
const apiKey = z.strictObject({
  name: z.string().regex(/^[a-z0-9][a-z0-9._-]{0,39}$/),
  sha256: z
    .string()
    .regex(/^[0-9a-fA-F]{64}$/)
    .transform((hex) => hex.toLowerCase()),
  /** Without it, the key has the rate of every client. */
  requests: z.number().int().min(0).max(1_000_000).optional(),
  per: duration('1m', '1s', '24h', 'The time in which a key may send its requests.'),
  burst: z.number().int().min(0).max(1_000_000).default(0),
  /** Without it, the key has as many places as every client. */
  concurrent: z.number().int().min(0).max(100_000).optional(),
  priority: z.enum(['interactive', 'batch']).default('interactive'),
});

/** The list balancer.api_keys. */
export const apiKeys = list(z.array(apiKey).max(1000), {
  sentence:
    'The keys of clients, by their hashes (made by: toonfleet keys make NAME), each with limits and a priority of its own.',
  allowed:
    'a list of {name: lower-case letters, digits, ".", "_" and "-"; sha256: 64 hex digits; and if wanted requests, per, burst and concurrent as in rate_limit, priority: interactive or batch}',
  example: '[{"name": "shop", "sha256": "(64 hex digits)", "requests": 600, "per": "1m"}]',
  hidden: true,
});

/** Keys that could not be told apart: each name and each hash stands for one key. */
export function apiKeyTwins(keys: z.output<typeof apiKeys>): string[] {
  const faults: string[] = [];
  for (const field of ['name', 'sha256'] as const) {
    for (const [index, key] of keys.entries()) {
      const twin = keys.findIndex((other) => other[field] === key[field]);
      if (twin < index)
        faults.push(
          fault(
            `balancer.api_keys.${index}.${field}`,
            `what balancer.api_keys.${twin} has already`,
            `a ${field} of its own`,
            `toonfleet keys make ${key.name}-2`,
          ),
        );
    }
  }
  return faults;
}
