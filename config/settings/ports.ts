// The ports that toonfleet takes on one machine, over all sections: no two may be one. Whether another program has one of
// them is not known here. Pure.

import type { z } from 'zod';
import type { agent } from './agent.ts';
import type { alerts } from './alerts.ts';
import type { balancer } from './balancer.ts';
import { fault } from './fault.ts';
import type { worker } from './worker.ts';

/** The sections that have ports. */
interface Listening {
  readonly agent: z.output<typeof agent>;
  readonly alerts: z.output<typeof alerts>;
  readonly balancer: z.output<typeof balancer>;
  readonly worker: z.output<typeof worker>;
}

/** Ports that are taken twice, or lie among those of the workers. 0 is any free port and meets no other. */
export function portContradictions({ agent, alerts, balancer, worker }: Listening): string[] {
  const faults: string[] = [];
  const ports: [string, number][] = [
    ['balancer.port', balancer.port],
    ['balancer.admin_port', balancer.admin_port],
    ['worker.shared_port', worker.shared_port],
    ['agent.port', agent.port],
  ];
  const { tls } = balancer;
  if (tls.cert_file !== '') ports.push(['balancer.tls.port', tls.port]);
  const { relay } = alerts;
  // Without a token the relay takes in nothing, and does not start.
  if (relay.token !== undefined || relay.token_file !== '') ports.push(['alerts.relay.port', relay.port]);
  for (const [index, [name, port]] of ports.entries()) {
    const twin = ports.slice(0, index).find(([, other]) => other === port && port !== 0);
    if (twin)
      faults.push(
        fault(name, `${port}, which ${twin[0]} has already`, 'a port of its own', `${name}: ${port + 1}`),
      );
    if (port !== 0 && port >= worker.port_first && port <= worker.port_last) {
      const among = `${worker.port_first}-${worker.port_last}`;
      faults.push(fault(name, `${port}, which lies among the worker ports ${among}`, 'a port outside them'));
    }
  }
  return faults;
}
