// Which balancers autoscale asks. Each knows its own line and its own pictures alone: with one left out, VMs would be parked that
// it needs. Pure.

import type { LoadedSettings } from '../../config/load.ts';

export type Asked =
  /** Their admin ports as URLs; undefined is this machine's own. */
  | { readonly kind: 'all'; readonly admins: readonly [string | undefined, ...string[]] }
  | { readonly kind: 'too few'; readonly sentence: string };

/** `admin` is the one that the command line names. */
export function balancersToAsk(
  {
    autoscale,
    keepalived,
  }: {
    readonly autoscale: Pick<LoadedSettings['autoscale'], 'balancers'>;
    readonly keepalived: Pick<LoadedSettings['keepalived'], 'peers'>;
  },
  admin: string | undefined,
): Asked {
  const [first, ...others] =
    admin === undefined ? autoscale.balancers.map((address) => `http://${address}`) : [admin];
  const asked = 1 + others.length;
  const there = 1 + keepalived.peers.length;
  if (asked < there)
    return {
      kind: 'too few',
      sentence: `There are ${there} balancers by keepalived.peers, and ${asked} would be asked: name the admin ports of all in autoscale.balancers, or VMs would be parked that the others need.`,
    };
  return { kind: 'all', admins: [first, ...others] };
}
