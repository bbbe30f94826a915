// The nodes that a rollout goes to: those of the settings and those that were added at run time, with how ssh gets there
// and what their agents report.

import type { LoadedSettings } from '../../config/load.ts';
import { fleetAgents } from '../agents.ts';
import { rosterOf } from './node.ts';

/** One node before anything is known of its releases. */
export interface FleetNode {
  readonly name: string;
  readonly zone: string;
  readonly agent: string;
  /** Where ssh goes. */
  readonly address: string;
  readonly port: number;
  readonly user: string;
  /** The release that its agent reports; undefined when nothing answers. */
  readonly serving: string | undefined;
  readonly draining: boolean;
  readonly workers: number;
}

/** Finds the nodes; several with one name get their address instead. */
export async function fleetNodes(settings: LoadedSettings): Promise<FleetNode[]> {
  const sshOf = new Map(settings.nodes.map(({ agent, ssh }) => [agent, ssh]));
  const nodes = await Promise.all(
    (await fleetAgents(settings)).map(async (agent) => {
      const roster = await rosterOf({ agent, key: settings.node.key });
      const host = new URL(agent).hostname.replace(/^\[|\]$/g, '');
      return {
        name: roster?.node ?? host,
        zone: roster?.zone ?? '',
        agent,
        ...reachedBy(sshOf.get(agent), host, settings.rollout),
        serving: roster?.release,
        draining: roster?.draining ?? false,
        workers: roster?.workers.filter(({ state }) => state === 'ready').length ?? 0,
      };
    }),
  );
  const twice = (name: string) => nodes.filter((node) => node.name === name).length > 1;
  return nodes
    .map((node) => (twice(node.name) ? { ...node, name: `${node.name}-${node.address}` } : node))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** `[USER@]HOST[:PORT]`, with what the settings say for all. */
export function reachedBy(
  ssh: string | undefined,
  host: string,
  { user, port }: LoadedSettings['rollout'],
): { address: string; port: number; user: string } {
  const [, own, address = host, ownPort] =
    /^(?:([^@]+)@)?(\[[^\]]+\]|[^:]+)(?::(\d+))?$/.exec(ssh ?? host) ?? [];
  return {
    address: address.replace(/^\[|\]$/g, ''),
    port: ownPort === undefined ? port : Number(ownPort),
    user: own ?? user,
  };
}
