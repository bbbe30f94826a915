// Pictures in a Redis that balancers share. The only file that knows ioredis. A Redis that is down, slow, full or lies
// never costs a picture and never makes one wait for longer than its bound: it is passed over, which is logged when it
// begins and ends, and counted each time.

import { Redis } from 'ioredis';
import type { Log } from '../../ops/process/log.ts';
import type { BalancerMetrics } from '../../ops/process/metrics.ts';
import { after, ask, type Circuit, CLOSED } from './circuit.ts';
import { fromRecord, type Kept, toRecord } from './record.ts';

export interface SharedOptions {
  /** `redis://[USER@]HOST:PORT[/DB]`, or `rediss://` for TLS. */
  readonly url: string;
  readonly password: string | undefined;
  /** How long one question may take. */
  readonly timeoutMs: number;
  readonly ttlMs: number;
  /** Larger pictures are not sent there. */
  readonly maxBytes: number;
  /** Signs the records. */
  readonly secret: string;
  readonly log: Log;
  readonly metrics: Pick<BalancerMetrics, 'cacheStore' | 'cacheStoreUp'>;
  readonly now: () => number;
}

/** A picture found there, and for how long it may still be kept. */
export interface Found {
  readonly name: string;
  readonly kept: Kept;
  readonly leftMs: number;
}

/** A store that balancers share. Neither call rejects. */
export interface SharedStore {
  /** The first of these that is there. */
  get(names: readonly string[]): Promise<Found | undefined>;
  /** Keeps a picture, when that is possible; nobody waits for it. */
  put(name: string, kept: Kept): void;
  /** Resolves when nothing is being written. */
  settled(): Promise<void>;
  readonly up: () => boolean;
  close(): void;
}

/** Names of records; the number changes with their layout. */
const PREFIX = 'toonfleet:cache:1:';
/** Bytes on their way to Redis; beyond this pictures are not sent. */
const MAX_WRITING_BYTES = 64 * 1024 ** 2;
/** A write carries a whole picture, and nobody waits for it. */
const WRITE_PATIENCE = 10;
const LONGEST_PAUSE_MS = 2000;

type End = 'hit' | 'miss' | 'stored' | 'timeout' | 'error' | 'corrupt' | 'full' | 'skipped';

export function createSharedStore(options: SharedOptions): SharedStore {
  const { url, password, timeoutMs, ttlMs, maxBytes, secret, log, metrics, now } = options;
  const circuits: Record<'get' | 'put', Circuit> = { get: CLOSED, put: CLOSED };
  const writing = new Set<Promise<void>>();
  let writingBytes = 0;
  let told: boolean | undefined;
  let closed = false;

  const redis = new Redis(url, {
    ...(password === undefined ? {} : { password }),
    connectionName: 'toonfleet-balancer',
    // What every Redis and every proxy in front of one speaks.
    protocol: 2,
    connectTimeout: LONGEST_PAUSE_MS,
    // A connection that owes an answer for so long is dead, whatever TCP believes of it.
    socketTimeout: Math.max(LONGEST_PAUSE_MS, 2 * WRITE_PATIENCE * timeoutMs),
    // Nothing waits for a connection, and nothing is asked twice: whoever asks has better things to do.
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    retryStrategy: (times) => Math.min(LONGEST_PAUSE_MS, 100 * times),
  });
  // A connection alone says little: what was too slow has to show that it answers in time.
  redis.on('ready', () => {
    if (circuits.get.kind === 'closed') tell(true, undefined);
  });
  redis.on('error', (error: Error) => tell(false, error.message));
  redis.on('close', () => tell(false, 'the connection closed'));
  metrics.cacheStoreUp.set(0);

  /** One line when it begins or stops to answer. */
  function tell(up: boolean, why: string | undefined): void {
    if (closed || told === up) return;
    told = up;
    metrics.cacheStoreUp.set(up ? 1 : 0);
    // Without user and password, should a URL have any.
    const fields = { redis: url.replace(/\/\/[^@/]*@/, '//') };
    if (up) log.info(fields, 'the shared cache answers');
    else
      log.warn(
        { ...fields, why },
        'the shared cache does not answer; pictures come from memory or are drawn',
      );
  }

  function count(op: 'get' | 'put', result: End): void {
    metrics.cacheStore.inc({ op, result });
  }

  /** Whether this may be tried now. */
  function passes(op: 'get' | 'put'): boolean {
    if (closed || redis.status !== 'ready') return false;
    // Who does not answer questions is not sent pictures.
    if (op === 'put' && circuits.get.kind !== 'closed') return false;
    const { passes: may, circuit } = ask(circuits[op], now());
    circuits[op] = circuit;
    return may;
  }

  function came(op: 'get' | 'put', end: 'success' | 'failure', why?: string): void {
    const before = circuits[op];
    // A connection that was lost is no news of how it answers; the next one may be as good as new.
    if (end === 'failure' && redis.status !== 'ready' && before.kind !== 'trying') return;
    circuits[op] = after(before, end, now());
    const { kind } = circuits[op];
    if (kind === before.kind) return;
    if (op === 'put') {
      if (kind === 'closed') log.info({}, 'the shared cache takes pictures again');
      else if (before.kind === 'closed') log.warn({ why }, 'the shared cache takes no pictures');
      return;
    }
    if (kind === 'closed') tell(true, undefined);
    else if (kind === 'open') tell(false, why);
  }

  async function get(names: readonly string[]): Promise<Found | undefined> {
    if (!passes('get')) {
      count('get', 'skipped');
      return undefined;
    }
    const pipeline = redis.pipeline();
    for (const name of names) pipeline.getBuffer(PREFIX + name).pttl(PREFIX + name);
    try {
      const replies = (await within(pipeline.exec(), timeoutMs)) ?? [];
      const failure = replies.find(([error]) => error !== null)?.[0];
      if (failure) throw failure;
      came('get', 'success');
      for (const [at, name] of names.entries()) {
        const record = replies[2 * at]?.[1];
        if (!Buffer.isBuffer(record)) continue;
        const kept = fromRecord(PREFIX + name, record, secret);
        if (kept) {
          count('get', 'hit');
          // Negative where a record has no end, which ours always have, or went between the two questions.
          const leftMs = Number(replies[2 * at + 1]?.[1]);
          return { name, kept, leftMs: leftMs > 0 ? Math.min(leftMs, ttlMs) : 1 };
        }
        count('get', 'corrupt');
        log.warn(
          { key: PREFIX + name },
          'a record of the shared cache is not what was written; it is taken away',
        );
        redis.del(PREFIX + name).catch(() => {});
        return undefined;
      }
      count('get', 'miss');
    } catch (error) {
      count('get', error instanceof TimedOut ? 'timeout' : 'error');
      came('get', 'failure', (error as Error).message);
    }
    return undefined;
  }

  async function write(name: string, kept: Kept, bytes: number): Promise<void> {
    writingBytes += bytes;
    try {
      const record = toRecord(PREFIX + name, kept, secret);
      await within(redis.set(PREFIX + name, record, 'PX', ttlMs), timeoutMs * WRITE_PATIENCE);
      count('put', 'stored');
      came('put', 'success');
    } catch (error) {
      const { message } = error as Error;
      // "OOM command not allowed when used memory > 'maxmemory'": it may not make room by itself.
      const full = message.startsWith('OOM');
      count('put', full ? 'full' : error instanceof TimedOut ? 'timeout' : 'error');
      came('put', 'failure', full ? `it is full (${message})` : message);
    } finally {
      writingBytes -= bytes;
    }
  }

  return {
    get,
    put(name, kept) {
      const bytes = kept.body.length;
      if (bytes > maxBytes || writingBytes + bytes > MAX_WRITING_BYTES || !passes('put')) {
        count('put', 'skipped');
        return;
      }
      const write_ = write(name, kept, bytes);
      writing.add(write_);
      void write_.finally(() => writing.delete(write_));
    },
    async settled() {
      while (writing.size > 0) await Promise.all(writing);
    },
    up: () => told === true,
    close() {
      closed = true;
      redis.disconnect();
    },
  };
}

class TimedOut extends Error {}

/** The promise, or after this time a {@link TimedOut}; what comes later is passed over. */
function within<T>(promise: Promise<T>, ms: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new TimedOut(`no answer within ${ms} ms`)), ms);
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
