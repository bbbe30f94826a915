// One node as a rollout sees it from outside, over HTTP: what its agent reports, whether its workers draw, what it counted.
// Knows no Ansible, and decides nothing but "is it so yet".

import http from 'node:http';
import { setTimeout as wait } from 'node:timers/promises';
import { crc32, deflateSync } from 'node:zlib';
import { z } from 'zod';
import {
  healthSchema,
  INTERNAL_PATHS,
  type NodeRoster,
  nodeDrainSchema,
  nodeRosterSchema,
  PATHS,
} from '../../config/contract.ts';
import { nodeKeyHeader } from '../process/node-key.ts';
import type { Counted } from './plan.ts';

const ASK_MS = 3_000;
const DRAW_MS = 30_000;
const POLL_MS = 200;
/** With fewer workers than before, so long without a new one is taken for all there will be: the settings may have changed. */
const SETTLED_MS = 5_000;

/** A node's agent and the fleet's key. */
export interface NodeAddress {
  readonly agent: string;
  readonly key: string | undefined;
}

/** Something did not become so, or is not right; the message is for people. */
export class StepFault extends Error {}

/** The roster; undefined when nothing answers there. */
export async function rosterOf({ agent, key }: NodeAddress): Promise<NodeRoster | undefined> {
  const response = await ask(agent + INTERNAL_PATHS.node, { headers: nodeKeyHeader(key) });
  if (response === undefined) return undefined;
  if (response.status === 401)
    throw new StepFault(`${agent} wants another node key than the one here (node.key, node.key_file).`);
  return nodeRosterSchema.safeParse(response.json).data;
}

/**
 * Waits until a node serves a release: the agent and every worker report it, nobody is loading, there are as many workers
 * as wished (or no more come), and each has drawn a picture.
 * @throws {StepFault} with what is missing when the time is up.
 */
export async function becomesReady(
  address: NodeAddress,
  release: string,
  workers: number,
  withinMs: number,
): Promise<number> {
  const end = Date.now() + withinMs;
  let missing = 'its agent does not answer';
  let settled: { count: number; since: number } | undefined;
  while (Date.now() < end) {
    const roster = await rosterOf(address);
    missing = missingOf(roster, release);
    if (roster && missing === '') {
      const count = roster.workers.length;
      if (settled?.count !== count) settled = { count, since: Date.now() };
      if (count >= workers || Date.now() - settled.since >= SETTLED_MS) {
        await drawsOnEach(address, roster, release);
        return count;
      }
      missing = `${count} of ${workers} workers are ready`;
    } else {
      settled = undefined;
    }
    await wait(POLL_MS);
  }
  throw new StepFault(`not ready with release ${release} after ${Math.round(withinMs / 1000)} s: ${missing}`);
}

function missingOf(roster: NodeRoster | undefined, release: string): string {
  if (roster === undefined) return 'its agent does not answer';
  if (roster.release !== release) return `its agent reports release ${roster.release}`;
  const loading = roster.workers.filter(({ state }) => state === 'loading').length;
  if (loading > 0) return `${loading} of ${roster.workers.length} workers are still loading`;
  if (!roster.workers.some(({ state }) => state === 'ready')) return 'no worker is ready';
  return '';
}

/** Every worker says which release it is and draws one picture, at its own port. */
async function drawsOnEach({ key }: NodeAddress, { workers }: NodeRoster, release: string): Promise<void> {
  const picture = testPicture();
  for (const { id, url, state } of workers) {
    if (state !== 'ready') continue;
    const headers = nodeKeyHeader(key);
    const health = await ask(url + PATHS.health, { headers });
    const said = healthSchema.safeParse(health?.json).data;
    const theirs = said?.release ?? said?.version;
    if (theirs !== release) throw new StepFault(`worker ${id} runs release ${theirs ?? '(no answer)'}`);
    const drawn = await ask(`${url}${PATHS.images}?format=png`, {
      method: 'POST',
      headers: { ...headers, 'content-type': 'image/png' },
      body: picture,
      withinMs: DRAW_MS,
    });
    const right = drawn?.status === 200 && drawn.body.subarray(1, 4).toString('latin1') === 'PNG';
    if (!right)
      throw new StepFault(`worker ${id} did not draw a picture (status ${drawn?.status ?? 'none'})`);
  }
}

/** Drains a node by its own agent, for where no balancer's word is to be had; waits until it is idle and known to be. */
export async function drainByAgent(address: NodeAddress, withinMs: number): Promise<void> {
  const end = Date.now() + withinMs;
  for (;;) {
    const { seen, busy } = await turnDrain(address, 'PUT');
    if (seen && busy === 0) return;
    if (Date.now() > end)
      throw new StepFault(
        `not idle after ${Math.round(withinMs / 1000)} s: ${busy} pictures are being drawn`,
      );
    await wait(POLL_MS);
  }
}

/** Puts a node back to work by its own agent. */
export async function undrainByAgent(address: NodeAddress): Promise<void> {
  await turnDrain(address, 'DELETE');
}

async function turnDrain({ agent, key }: NodeAddress, method: 'PUT' | 'DELETE') {
  const response = await ask(agent + INTERNAL_PATHS.nodeDrain, { method, headers: nodeKeyHeader(key) });
  const parsed = nodeDrainSchema.safeParse(response?.json);
  if (!parsed.success)
    throw new StepFault(`${agent} does not take a drain (status ${response?.status ?? 'none'})`);
  return parsed.data;
}

const statsSchema = z.object({ pictures_total: z.number(), failed_total: z.number(), mean_ms: z.number() });

/** What a node has counted since it was made; undefined when its agent does not answer. */
export async function countsOf({ agent, key }: NodeAddress): Promise<Counted | undefined> {
  const response = await ask(agent + INTERNAL_PATHS.stats, {
    headers: { accept: 'application/json', ...nodeKeyHeader(key) },
  });
  const { data } = statsSchema.safeParse(response?.json);
  return data && { pictures: data.pictures_total, failed: data.failed_total, meanMs: data.mean_ms };
}

interface Answer {
  readonly status: number;
  readonly body: Buffer;
  /** The body as JSON; undefined when it is none. */
  readonly json: unknown;
}

/**
 * One question on a connection of its own, ended by a timer of its own: a node that is just being replaced may take a
 * connection and never answer. Undefined when no whole answer came.
 */
function ask(
  url: string,
  {
    method = 'GET',
    headers = {},
    body,
    withinMs = ASK_MS,
  }: { method?: string; headers?: Record<string, string>; body?: Buffer; withinMs?: number },
): Promise<Answer | undefined> {
  return new Promise((resolve) => {
    const length = body === undefined ? {} : { 'content-length': String(body.length) };
    const request = http.request(url, { method, agent: false, headers: { ...headers, ...length } });
    const timer = setTimeout(() => request.destroy(), withinMs);
    const end = (answer: Answer | undefined) => {
      clearTimeout(timer);
      resolve(answer);
    };
    request.once('error', () => end(undefined));
    request.once('close', () => end(undefined));
    request.once('response', (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.once('error', () => end(undefined));
      response.once('end', () => {
        const whole = Buffer.concat(chunks);
        end({ status: response.statusCode ?? 0, body: whole, json: parsed(whole) });
      });
    });
    request.end(body);
  });
}

function parsed(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch {
    return undefined;
  }
}

/** A small picture with something to see in it, made here so that a rollout needs no file. */
function testPicture(side = 64): Buffer {
  const rows = Buffer.alloc(side * (1 + 3 * side));
  for (let y = 0; y < side; y++)
    for (let x = 0; x < side; x++) {
      const at = y * (1 + 3 * side) + 1 + 3 * x;
      const inside = (x - side / 2) ** 2 + (y - side / 2) ** 2 < (side / 3) ** 2;
      rows.set(inside ? [220, 3 * x, 60] : [2 * x, 3 * y, 200], at);
    }
  const chunk = (type: string, data: Buffer) => {
    const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
    const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
    length.writeUInt32BE(data.length);
    sum.writeUInt32BE(crc32(body));
    return Buffer.concat([length, body, sum]);
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(side, 0);
  header.writeUInt32BE(side, 4);
  // 8 bits, RGB.
  header.set([8, 2], 8);
  return Buffer.concat([
    Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'),
    chunk('IHDR', header),
    chunk('IDAT', deflateSync(rows)),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}
