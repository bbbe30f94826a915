// What stands in keepalived's configuration for these settings. Pure: the template in ops/keepalived/ is filled by the
// command.

import { PATHS } from '../../config/contract.ts';
import type { LoadedSettings } from '../../config/load.ts';
import { Unrenderable } from './nginx.ts';

/** Where Debian, Ubuntu and Red Hat keep it. */
const CURL = '/usr/bin/curl';

/**
 * The values of ops/keepalived/keepalived.conf. `origin` says in one line where it comes from.
 * @throws {Unrenderable} when the settings do not describe a pair, with every fault.
 */
export function keepalivedValues(
  settings: Pick<LoadedSettings, 'balancer' | 'keepalived' | 'node'>,
  origin: string,
): Record<string, string> {
  const { keepalived: own, balancer, node } = settings;
  const faults = faultsOf(settings);
  if (faults.length > 0) throw new Unrenderable(faults.join('\n'));
  const preemptSeconds = Math.ceil(own.preempt_delay / 1000);
  return {
    origin,
    name: node.name,
    interface: own.interface,
    address: own.address,
    router_id: String(own.router_id),
    priority: String(own.priority),
    advert_s: String(own.advert_interval / 1000),
    check: `${CURL} --silent --fail --output /dev/null --max-time 0.8 ${liveUrl(balancer)}`,
    // keepalived counts a delay in whole seconds, and 0 would be at once.
    preempt: preemptSeconds === 0 ? '    nopreempt' : `    preempt_delay ${preemptSeconds}`,
    unicast: [
      `    unicast_src_ip ${own.source}`,
      '    unicast_peer {',
      ...own.peers.map((peer) => `        ${peer}`),
      '    }',
    ].join('\n'),
    notify: own.notify === '' ? '' : `    notify "${own.notify}"`,
  };
}

function faultsOf({ keepalived: own, balancer }: Pick<LoadedSettings, 'balancer' | 'keepalived'>): string[] {
  const faults: string[] = [];
  const needed = (name: string, example: string) =>
    faults.push(`keepalived.${name}: found nothing; needed here; example: keepalived.${name}: ${example}`);
  if (own.interface === '') needed('interface', 'eth0');
  if (own.address === '') needed('address', '10.0.0.100/24');
  if (own.source === '') needed('source', '10.0.0.10');
  if (own.peers.length === 0) needed('peers', '["10.0.0.20"]');
  if (own.peers.includes(own.source) && own.source !== '')
    faults.push(`keepalived.peers: found ${own.source}, which is this machine's own; allowed: the others`);
  const everywhere = balancer.host === '0.0.0.0' || balancer.host === '::';
  if (!everywhere && own.address !== '')
    faults.push(
      `balancer.host: found ${balancer.host}, where nobody would answer at ${own.address}; allowed: 0.0.0.0 or ::, which include an address that comes and goes`,
    );
  return faults;
}

function liveUrl({ host, port }: LoadedSettings['balancer']): string {
  return `http://${host === '::' ? '[::1]' : '127.0.0.1'}:${port}${PATHS.live}`;
}
