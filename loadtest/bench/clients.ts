// The clients of the balancer's bench: an open loop that sends each picture when it is due, a closed loop, and slow
// uploaders. Sees one URL; knows nothing of what stands behind it.

import http from 'node:http';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { HEADERS, PATHS } from '../../config/contract.ts';
import type { Photo } from '../pictures.ts';
import type { Due } from './trace.ts';

/** How one request ended, as its client saw it. */
export interface Ended {
  readonly large: boolean;
  /** From the moment when it was due. */
  readonly ms: number;
  /** How long after that moment it left; the clients' own fault. */
  readonly lateMs: number;
  /** `gave up`: the client's patience, which is the deadline, was over. */
  readonly kind: 'answered' | 'refused' | 'failed' | 'gave up';
}

/** One photo of each size. */
export type Photos = Readonly<Record<'small' | 'large', Photo>>;

let serial = Date.now() * 1000;

/** Sends each picture when it is due, whatever became of those before. A client gives up at its deadline. */
export async function openLoop(
  url: string,
  trace: readonly Due[],
  photos: Photos,
  deadlineMs: number,
): Promise<Ended[]> {
  const agent = new http.Agent({ keepAlive: true });
  const start = performance.now() + 50;
  const flying: Promise<Ended>[] = [];
  for (const { atMs, large } of trace) {
    const waitMs = start + atMs - performance.now();
    if (waitMs > 1) await sleep(waitMs);
    flying.push(send(url, agent, large ? photos.large : photos.small, large, start + atMs, deadlineMs));
  }
  const ended = await Promise.all(flying);
  agent.destroy();
  await sleep(300);
  return ended;
}

/** So many clients who each wait for their answer; gives back the ms of every answer. */
export async function closedLoop(
  url: string,
  next: () => { readonly photo: Photo; readonly large: boolean },
  clients: number,
  seconds: number,
): Promise<number[]> {
  const agent = new http.Agent({ keepAlive: true });
  const times: number[] = [];
  const until = performance.now() + seconds * 1000;
  await Promise.all(
    Array.from({ length: clients }, async () => {
      while (performance.now() < until) {
        const { photo, large } = next();
        const ended = await send(url, agent, photo, large, performance.now(), 60_000);
        if (ended.kind === 'answered') times.push(ended.ms);
        // Whoever refuses at once must not be asked ten thousand times a second.
        else await sleep(20);
      }
    }),
  );
  agent.destroy();
  return times;
}

function send(
  url: string,
  agent: http.Agent,
  photo: Photo,
  large: boolean,
  dueAt: number,
  deadlineMs: number,
): Promise<Ended> {
  return new Promise((resolve) => {
    const sentAt = performance.now();
    const end = (kind: Ended['kind']) => {
      clearTimeout(patience);
      resolve({ large, kind, ms: performance.now() - dueAt, lateMs: sentAt - dueAt });
    };
    const leftMs = Math.max(1, Math.ceil(dueAt + deadlineMs - sentAt));
    serial += 1;
    const { contentType, bytes, pieces } = photo.upload.raw(serial);
    const request = http.request(`${url}${PATHS.images}`, {
      method: 'POST',
      agent,
      headers: {
        'content-type': contentType,
        'content-length': bytes,
        [HEADERS.deadlineMs]: String(leftMs),
      },
    });
    let impatient = false;
    const patience = setTimeout(() => {
      impatient = true;
      request.destroy(new Error('gave up'));
    }, leftMs);
    const lost = () => end(impatient ? 'gave up' : 'failed');
    request.on('error', lost);
    request.on('response', (response) => {
      response.on('error', lost);
      response.on('end', () => {
        const { statusCode = 0 } = response;
        end(statusCode === 200 ? 'answered' : statusCode === 503 ? 'refused' : 'failed');
      });
      response.resume();
    });
    request.cork();
    for (const piece of pieces) request.write(piece);
    request.end();
    request.uncork();
  });
}

/** Clients that send an upload at a trickle (5 KB/s), again and again. */
export function slowUploaders(url: string, count: number, bytes: number): { stop(): void } {
  const { hostname, port } = new URL(url);
  const sockets = new Set<net.Socket>();
  let over = false;
  const begin = () => {
    if (over) return;
    const socket = net.connect(Number(port), hostname);
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('data', () => {});
    socket.write(
      `POST ${PATHS.images} HTTP/1.1\r\nHost: bench\r\nContent-Type: image/jpeg\r\nContent-Length: ${bytes}\r\nX-Deadline-Ms: 60000\r\n\r\n`,
    );
    const trickle = setInterval(() => socket.write(Buffer.alloc(1024)), 200);
    socket.on('close', () => {
      clearInterval(trickle);
      sockets.delete(socket);
      if (!over) setTimeout(begin, 200);
    });
  };
  for (let i = 0; i < count; i++) begin();
  return {
    stop() {
      over = true;
      for (const socket of sockets) socket.destroy();
    },
  };
}
