// Whether two names mean one machine: an agent speaks for the workers of its own machine, and for nobody else's.
// The only file of the balancer that asks the system for names and addresses.

import { lookup } from 'node:dns/promises';
import { networkInterfaces } from 'node:os';

export type SameHost = (a: string, b: string) => Promise<boolean>;

/** By name, else by address; all addresses of this very machine are one. A name that nobody knows is no one's. */
export const sameHost: SameHost = async (a, b) => {
  if (a === b) return true;
  const [ones, others] = await Promise.all([addressesOf(a), addressesOf(b)]);
  if (ones.some((address) => others.includes(address))) return true;
  return ones.some(isOwn) && others.some(isOwn);
};

async function addressesOf(host: string): Promise<string[]> {
  try {
    return (await lookup(host, { all: true })).map(({ address }) => address);
  } catch {
    return [];
  }
}

function isOwn(address: string): boolean {
  if (address.startsWith('127.') || address === '::1') return true;
  return Object.values(networkInterfaces()).some((list) => list?.some((own) => own.address === address));
}
