// The balancer's composition root: settings → parts → ports → "ready" → an ordered way out.

import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { runProcess } from '../ops/process/lifecycle.ts';
import { VERSION } from '../ops/process/package.ts';
import { createSite } from '../ops/process/site.ts';
import { createBalancer } from './balancer.ts';
import { listen } from './door/public-server.ts';

/** What the first checks of all workers may take, so that whoever comes first finds somebody to draw. */
const FIRST_CHECKS_MS = 2000;

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
  await roster.start();
  // A reload hands over to us as soon as we are ready: not before we know who can work.
  await balancer.firstChecks(FIRST_CHECKS_MS);
  const admin = await listen(adminServer, own.admin_port, own.admin_host, 'balancer.admin_port');
  await balancer.spill.clean();
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
          // http's own close() would cut a call that is just being written.
          net.Server.prototype.close.call(adminServer);
          balancer.nodes.close();
          balancer.endAdminStreams();
        },
      },
      {
        name: 'finish what is queued and running',
        run: async () => {
          const from = performance.now();
          const goesOn = async () => {
            const tookMs = performance.now() - from;
            if (journey.underWay() > 0) return tookMs < own.deadline;
            // Every answer closes its connection now; a client that is about to write to an idle one gets its answer too.
            return tookMs < own.drain_grace && (await balancer.openConnections()) > 0;
          };
          while (await goesOn()) await sleep(20);
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
          balancer.state.close();
          adminServer.closeAllConnections();
          await cache.close();
        },
      },
    ],
  };
});
