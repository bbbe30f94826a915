// Connections that Node's cluster hands to a process which dies before it has taken them. The process that accepts for all
// (PM2's, for workers and balancer) waits for a word that never comes, and the client waits with it, for ever: nobody
// closes the connection, and nobody reads it (seen with Node 20; at most one for each port of each process that dies).
// PM2 is started with this file loaded in front of it; nothing here knows PM2.

import cluster, { type Cluster, type Worker } from 'node:cluster';

/** What Node's own cluster module sends and gets: a connection for a process, and the word that it has been taken. */
interface ClusterMessage {
  readonly cmd?: string;
  readonly act?: string;
  readonly key?: string;
  readonly seq?: number;
  readonly ack?: number;
}

/** The one thing that is asked of a connection's handle. */
interface Handle {
  close(): void;
}

interface HandedOver {
  /** What the process listens on, as Node names it: `ADDRESS:PORT:…`. */
  readonly key: string;
  readonly handle: Handle;
}

const ofCluster = (message: unknown): message is ClusterMessage =>
  (message as ClusterMessage | null)?.cmd === 'NODE_CLUSTER';

/**
 * Gives each connection that a dead process had not taken to the next one that listens there, where nothing of it is lost,
 * since nobody has read from it; closes it where there is none, so that its client hears of it.
 */
export function saveHandedOver(primary: Pick<Cluster, 'on'>): void {
  /** Where each process listens, as `ADDRESS:PORT:`. */
  const listening = new Map<Worker, string[]>();
  primary.on('listening', (worker, { address, port }) => {
    listening.set(worker, [...(listening.get(worker) ?? []), `${address}:${port}:`]);
  });
  primary.on('fork', (worker) => {
    const child = worker.process;
    const underWay = new Map<number, HandedOver>();
    const send = child.send.bind(child) as (...args: unknown[]) => boolean;
    child.send = (...args: unknown[]) => {
      const [message, handle] = args;
      if (
        ofCluster(message) &&
        message.act === 'newconn' &&
        message.seq !== undefined &&
        handle !== undefined
      )
        underWay.set(message.seq, { key: message.key ?? '', handle: handle as Handle });
      return send(...args);
    };
    child.on('internalMessage', (message: unknown) => {
      if (!ofCluster(message)) return;
      if (message.ack !== undefined) underWay.delete(message.ack);
      if (message.act === 'close')
        listening.set(
          worker,
          (listening.get(worker) ?? []).filter((place) => !message.key?.startsWith(place)),
        );
    });
    let disconnected = false;
    child.once('disconnect', () => {
      disconnected = true;
    });
    // After its exit and the end of its channel: what a dying process said last has been heard.
    child.once('close', () => {
      listening.delete(worker);
      if (underWay.size === 0) return;
      // With a connection under way Node forgets to say so, and keeps the dead among those that listen.
      if (!disconnected) child.emit('disconnect');
      const others = [...listening.values()].flat();
      for (const [seq, { key, handle }] of underWay) {
        // In the name of the dead: "not taken" is what a process says that is about to leave.
        if (others.some((place) => key.startsWith(place)))
          child.emit('internalMessage', { cmd: 'NODE_CLUSTER', ack: seq, accepted: false });
        else handle.close();
      }
    });
  });
}

if (cluster.isPrimary) saveHandedOver(cluster);
