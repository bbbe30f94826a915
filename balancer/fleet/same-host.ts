// Whether two names mean one machine: an agent speaks for the workers of its own machine, and for nobody else's.
// The only file of the balancer that asks the system for names and addresses.

import { lookup } from 'node:dns/promises';
import { isOwnAddress } from '../../ops/process/own-address.ts';

export type SameHost = (a: string, b: string) => Promise<boolean>;

/** By name, else by address; all addresses of this very machine are one. A name that nobody knows is no one's. */
export const sameHost: SameHost = async (a, b) => {
  if (a === b) return true;
  const [ones, others] = await Promise.all([addressesOf(a), addressesOf(b)]);
  if (ones.some((address) => others.includes(address))) return true;
  return ones.some(isOwnAddress) && others.some(isOwnAddress);
};

async function addressesOf(host: string): Promise<string[]> {
  try {
    return (await lookup(host, { all: true })).map(({ address }) => address);
  } catch {
    return [];
  }
}
