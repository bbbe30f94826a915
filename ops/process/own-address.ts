// Whether an address is one of this very machine.

import { networkInterfaces } from 'node:os';

/** Loopback counts as well. */
export function isOwnAddress(address: string): boolean {
  if (address.startsWith('127.') || address === '::1') return true;
  return Object.values(networkInterfaces()).some((list) => list?.some((own) => own.address === address));
}
