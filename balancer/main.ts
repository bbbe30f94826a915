// The balancer's composition root: settings → parts → ports → "ready" → an ordered way out.

import { setTimeout as sleep } from 'node:timers/promises';
import { runProcess } from '../ops/process/lifecycle.ts';
import { VERSION } from '../ops/process/package.ts';
import { createSite } from '../ops/process/site.ts';
import { createBalancer } from './balancer.ts';
import { listen } from './public-server.ts';

/** How long idle connections are kept while leaving: a client may be writing to one just now. */
const IDLE_GRACE_MS = 1000;

await runProcess('balancer', async (settings, log) => {
  const { balancer: own } = settings;
  const balancer = createBalancer({
    settings,
    version: VERSION,
    name: `${settings.node.name}-${process.pid}`,
    site: createSite({ version: VERSION, limits: settings.limits }),
    log,
    now: () => performance.now(),
    random: Math.random,
  });
  const { publicServer, secureDoor, adminServer, roster, prober, forwarder, journey, cache } = balancer;
  const admin = await listen(adminServer, own.admin_port, own.admin_host, 'balancer.admin_port');
  await roster.start();
  const unwatchLoop = balancer.watchLoop();
  const address = await publicServer.listen(own.port, own.host);
  await secureDoor?.open();
  log.info({ port: address.port, host: own.host, admin_port: admin.port }, 'listening');

  return {
    close: [
      {
        name: 'stop accepting',
        run: () => {
          balancer.startDraining();
          publicServer.stopAccepting();
          secureDoor?.stopAccepting();
        },
      },
      {
        name: 'finish what is queued and running',
        run: async () => {
          const until = performance.now() + own.deadline;
          await sleep(IDLE_GRACE_MS);
          while (journey.underWay() > 0 && performance.now() < until) await sleep(20);
        },
      },
      {
        name: 'close connections',
        run: () => {
          publicServer.closeAll();
          secureDoor?.closeAll();
        },
      },
      {
        name: 'stop asking',
        run: async () => {
          unwatchLoop();
          roster.close();
          prober.close();
          forwarder.close();
          adminServer.close();
          adminServer.closeAllConnections();
          await cache.close();
        },
      },
    ],
  };
});
