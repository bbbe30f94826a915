// Clients for tests that change a fleet under load: small pictures without end, each with bytes of its own, over kept
// and over fresh connections. What does not come back as a picture is a failure, with its reason.

import http from 'node:http';
import https from 'node:https';
import { setTimeout as wait } from 'node:timers/promises';
import { crc32 } from 'node:zlib';
import sharp from 'sharp';
import { photo } from './pictures.ts';

/** Pictures without end, small ones by default, each with bytes of its own. */
export async function pictureMaker(side = 64): Promise<(seed: number) => Buffer> {
  const base = await sharp(await photo(1, side, side))
    .png()
    .toBuffer();
  // A private chunk in front of IEND: other bytes, the same picture.
  const end = base.length - 12;
  return (seed) => {
    const chunk = Buffer.alloc(12 + 4);
    chunk.writeUInt32BE(4, 0);
    chunk.write('toOn', 4, 'latin1');
    chunk.writeUInt32BE(seed >>> 0, 8);
    chunk.writeUInt32BE(crc32(chunk.subarray(4, 12)), 12);
    return Buffer.concat([base.subarray(0, end), chunk, base.subarray(end)]);
  };
}

/** How many clients there are, and the size of their pictures, px. */
export interface Clients {
  readonly kept: number;
  readonly fresh: number;
  readonly side?: number;
}

export interface Traffic {
  readonly answered: () => number;
  readonly failures: string[];
  /** The longest time without a good answer since this was last asked, ms. */
  readonly silence: () => number;
  readonly end: () => Promise<void>;
}

/** Clients that send one picture after another: some keep their connection, some open a new one for each. */
export async function traffic(url: string, clients: Clients): Promise<Traffic> {
  const make = await pictureMaker(clients.side);
  const failures: string[] = [];
  let sent = 0;
  let answered = 0;
  let over = false;
  let longest = 0;
  let last = performance.now();
  const hear = () => {
    longest = Math.max(longest, performance.now() - last);
    last = performance.now();
  };
  const { Agent } = speaking(url);
  const client = async (agent: http.Agent) => {
    while (!over) {
      const outcome = await post(url, make(++sent), agent);
      if (outcome === undefined) {
        answered++;
        hear();
      } else failures.push(outcome);
      // Each client leaves gaps, so that connections are idle too when processes change.
      await wait(Math.random() * 10);
    }
    agent.destroy();
  };
  const all = [
    ...Array.from({ length: clients.kept }, () => client(new Agent({ keepAlive: true, maxSockets: 1 }))),
    ...Array.from({ length: clients.fresh }, () => client(new Agent({ keepAlive: false }))),
  ];
  return {
    answered: () => answered,
    failures,
    silence: () => {
      const found = Math.max(longest, performance.now() - last);
      longest = 0;
      return found;
    },
    end: async () => {
      over = true;
      await Promise.all(all);
    },
  };
}

/** Clients as in {@link traffic}, while something is done. They end with it, also when it fails. */
export async function underTraffic(
  url: string,
  clients: Clients,
  act: (load: Traffic) => Promise<unknown>,
): Promise<Traffic> {
  const load = await traffic(url, clients);
  try {
    await act(load);
  } finally {
    await load.end();
  }
  return load;
}

/** Pictures that come whether or not the earlier ones have been answered: Poisson arrivals at a rate, for a while. */
export async function arrivals(
  url: string,
  { perSecond, seconds, random }: { perSecond: number; seconds: number; random: () => number },
): Promise<{ sent: number; failures: string[] }> {
  const make = await pictureMaker();
  const agent = new (speaking(url).Agent)({ keepAlive: true });
  const began = performance.now();
  const pictures: Promise<string | undefined>[] = [];
  let at = 0;
  for (;;) {
    at += (-Math.log(1 - random()) / perSecond) * 1000;
    if (at > seconds * 1000) break;
    const pause = at - (performance.now() - began);
    if (pause > 0) await wait(pause);
    pictures.push(post(url, make(0x10000000 + pictures.length), agent));
  }
  const outcomes = await Promise.all(pictures);
  agent.destroy();
  return { sent: outcomes.length, failures: outcomes.filter((outcome) => outcome !== undefined) };
}

/** Sends one picture; undefined when a picture came back, else what went wrong. */
export function post(url: string, picture: Buffer, agent: http.Agent): Promise<string | undefined> {
  return new Promise((resolve) => {
    const sending = speaking(url).request(
      `${url}/v1/images?format=jpeg`,
      {
        method: 'POST',
        agent,
        rejectUnauthorized: false,
        headers: { 'content-type': 'image/png', 'content-length': picture.length },
      },
      (answer) => {
        const chunks: Buffer[] = [];
        answer.on('data', (chunk: Buffer) => chunks.push(chunk));
        answer.on('error', (error) => resolve(`answer: ${error.message}`));
        answer.on('end', () => {
          const body = Buffer.concat(chunks);
          resolve(
            answer.statusCode === 200 && body[0] === 0xff
              ? undefined
              : `${answer.statusCode} ${body.subarray(0, 200)}`,
          );
        });
      },
    );
    sending.setTimeout(30_000, () => sending.destroy(new Error('no answer in 30 s')));
    sending.on('error', (error: NodeJS.ErrnoException) => resolve(`request: ${error.code ?? error.message}`));
    sending.end(picture);
  });
}

/** The client for a URL; certificates in tests are nobody's word. */
const speaking = (url: string): typeof https | typeof http => (url.startsWith('https:') ? https : http);
