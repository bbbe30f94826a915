// `toonfleet keys make NAME`: a new API key, told once, and the line of the settings that lets it in. Pure: the random
// bytes come from the caller, and nothing is kept anywhere.

import { createHash } from 'node:crypto';

/** So many random bytes make a key that nobody guesses; a plain hash of it needs no salt. */
export const KEY_BYTES = 32;

export interface MadeKey {
  readonly name: string;
  /** What the client sends. It stands nowhere else. */
  readonly key: string;
  /** What stands in the settings. */
  readonly sha256: string;
}

/** What a name may look like, in words. */
export const NAME_RULE =
  'lower-case letters, digits, ".", "_" and "-", at most 40, the first a letter or a digit';

export function isKeyName(name: string): boolean {
  return /^[a-z0-9][a-z0-9._-]{0,39}$/.test(name);
}

/** Makes a key of {@link KEY_BYTES} random bytes. The prefix lets secret scanners and people tell what it is. */
export function makeKey(name: string, random: Uint8Array): MadeKey {
  const key = `tf_${Buffer.from(random).toString('base64url')}`;
  return { name, key, sha256: createHash('sha256').update(key).digest('hex') };
}

/** What a person is told. */
export function madeKeyText({ name, key, sha256 }: MadeKey, priority: 'interactive' | 'batch'): string {
  const more = priority === 'batch' ? ', priority: batch' : '';
  return `The API key "${name}", shown this once and kept nowhere:

  ${key}

Its client sends it as "Authorization: Bearer KEY" or as "X-API-Key: KEY".
For toonfleet.yaml of each balancer; then: toonfleet reload balancer

balancer:
  api_keys:
    - {name: ${JSON.stringify(name)}, sha256: "${sha256}"${more}}
`;
}
