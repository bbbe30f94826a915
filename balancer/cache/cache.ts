// The response cache: pictures that were drawn before are given again without a slot, and equal requests at the same
// time are drawn once. Owns the order: memory → a drawing under way → the shared store → a drawing of its own.
// What is equal decides `key.ts`, what is current `look.ts`, who draws `flight.ts`; how to draw is not known here.

import { LRUCache } from 'lru-cache';
import { formatServerTiming, HEADERS, PATHS } from '../../config/contract.ts';
import { ToonError } from '../../config/errors.ts';
import { type ImageRequest, normaliseStyle } from '../../config/image-request.ts';
import type { LoadedSettings } from '../../config/load.ts';
import type { Log } from '../../ops/process/log.ts';
import type { BalancerMetrics } from '../../ops/process/metrics.ts';
import type { Pool } from '../fleet/pool.ts';
import type { WholeAnswer } from '../passage/answer.ts';
import type { Trip } from '../passage/trip.ts';
import { NOWHERE } from '../schedule/pick.ts';
import type { Priority } from '../schedule/queue.ts';
import type { Lane } from '../traffic/lane.ts';
import { Flights, type Lead, type Turn } from './flight.ts';
import { type Asked, directivesOf, entryKey, useOf } from './key.ts';
import { type Look, lookOfAnswer, looksOf } from './look.ts';
import type { Kept } from './record.ts';
import { createSharedStore, type SharedStore } from './redis.ts';

/** A picture that is wanted. */
export interface Wanted {
  readonly path: string;
  readonly request: ImageRequest;
  /** SHA-256 of the photo's bytes, hex; asked for only where pictures are kept. */
  readonly photoDigest: () => string;
  readonly priority: Priority;
  /** Which releases may draw it. */
  readonly lane: () => Lane;
}

/** Draws for this caller. `arrivedAt` is when the wish for it came, for its place in the line. */
export type Draw = (arrivedAt: number) => Promise<WholeAnswer>;

export interface CacheParts {
  readonly settings: LoadedSettings['balancer']['cache'];
  /** Signs what is kept outside of this process. */
  readonly nodeKey: string | undefined;
  readonly pool: Pick<Pool, 'upstreams' | 'serving'>;
  readonly metrics: BalancerMetrics;
  readonly log: Log;
  readonly now: () => number;
}

/** What `X-Cache` says. A picture that was drawn for somebody else at the same time is a hit. */
export type CacheResult = 'hit' | 'miss' | 'bypass';

/** Paths that answer JSON whatever is asked for. */
const JSON_PATHS: ReadonlySet<string> = new Set([PATHS.apiTransform, PATHS.predict]);
/** What an entry costs beside its picture. */
const ENTRY_BYTES = 1024;
/** No picture may take more than this part of the memory. */
const LARGEST = 1 / 4;

export class ResponseCache {
  readonly #parts: CacheParts;
  readonly #memory: LRUCache<string, Kept>;
  readonly #shared: SharedStore | undefined;
  readonly #flights = new Flights<Kept>();
  /** The looks that each style had last, by lane and the name that was asked for: with no worker left, they still hold. */
  readonly #lastLooks = new LRUCache<string, readonly Look[]>({ max: 1000 });

  constructor(parts: CacheParts) {
    const { settings, nodeKey, metrics, log, now } = parts;
    const largest = Math.floor(settings.size * LARGEST);
    this.#parts = parts;
    this.#memory = new LRUCache({
      maxSize: settings.size,
      maxEntrySize: largest,
      sizeCalculation: ({ body }) => body.length + ENTRY_BYTES,
      ttl: settings.ttl,
      perf: { now },
    });
    this.#shared =
      settings.enabled && settings.redis_url !== ''
        ? createSharedStore({
            url: settings.redis_url,
            password: settings.redis_password,
            timeoutMs: settings.redis_timeout,
            ttlMs: settings.ttl,
            maxBytes: largest,
            secret: nodeKey ?? '',
            log,
            metrics,
            now,
          })
        : undefined;
  }

  /** Whether a request may be answered without a worker, as far as its head tells. */
  mayAnswer(path: string, cacheControl: string | undefined): boolean {
    const { settings } = this.#parts;
    if (!settings.enabled || (this.#memory.size === 0 && this.#shared?.up() !== true)) return false;
    const wishes = directivesOf(cacheControl);
    return !JSON_PATHS.has(path) && !wishes.has('no-store') && !wishes.has('no-cache');
  }

  /** Answers with a picture that is kept, or that is being drawn, or that `draw` draws. */
  async answer(trip: Trip, wanted: Wanted, draw: Draw): Promise<WholeAnswer> {
    const { settings, now } = this.#parts;
    const use = settings.enabled ? useOf(wanted.request, trip.request.headers['cache-control']) : 'none';
    if (use === 'none') return this.#stamp(trip, 'bypass', await draw(now()));
    const { path, request, photoDigest } = wanted;
    const asked: Asked = { path, request, photo: photoDigest() };
    const looks = this.#looks(wanted);
    // Who asks for a release by name wants to see what that one draws, not what is kept. And of a worker that tells no
    // version nobody knows when its pictures grow old.
    if (use === 'refresh' || wanted.lane().kind === 'named' || looks.length === 0) {
      const answer = await draw(now());
      this.#keep(asked, answer);
      return this.#stamp(trip, 'bypass', answer);
    }
    const keys = looks.map((look) => entryKey(asked, look));
    for (const key of keys) {
      const kept = this.#memory.get(key);
      if (kept) return this.#hit(trip, kept);
    }
    return this.#fly(trip, wanted.priority, asked, keys, draw);
  }

  /** What it holds, for those who watch. */
  status() {
    const { enabled } = this.#parts.settings;
    return {
      enabled,
      pictures: this.#memory.size,
      bytes: this.#memory.calculatedSize,
      drawing: this.#flights.size,
      waiting: this.#flights.waiting,
      redis: this.#shared ? (this.#shared.up() ? 'up' : 'down') : null,
    };
  }

  /** Waits until the shared store has what was given to it, then leaves it. */
  async close(): Promise<void> {
    await this.#shared?.settled();
    this.#shared?.close();
  }

  /** Follows a drawing of the same picture that is under way, or leads one. */
  async #fly(
    trip: Trip,
    priority: Priority,
    asked: Asked,
    keys: readonly string[],
    draw: Draw,
  ): Promise<WholeAnswer> {
    const { now } = this.#parts;
    const arrivedAt = now();
    const turn = await this.#turn(trip, keys.join(), priority);
    switch (turn.kind) {
      case 'lead':
        return this.#lead(trip, turn.lead, asked, keys, () => draw(arrivedAt));
      case 'shared':
        trip.queueMs = now() - arrivedAt;
        return this.#hit(trip, turn.value);
      case 'alone':
        return this.#stamp(trip, 'miss', await draw(arrivedAt));
      case 'failed':
        throw turn.error;
      case 'left':
        if (trip.gone) throw new ToonError('client_gone');
        if (turn.running) throw new ToonError('deadline_exceeded');
        // Its deadline is past and its picture still in the line: the line knows what to tell it.
        return this.#stamp(trip, 'miss', await draw(arrivedAt));
    }
  }

  /** Waits for a caller's turn, not beyond its deadline, and not after it has left. */
  async #turn(trip: Trip, key: string, priority: Priority): Promise<Turn<Kept>> {
    const { now } = this.#parts;
    if (trip.gone) throw new ToonError('client_gone');
    const { turn, leave } = this.#flights.join(key, priority, () => trip.phase === 'node');
    trip.phase = 'queue';
    trip.onGone = leave;
    // A ms more, since timers may be early by a part of one, and a deadline that is not yet past is none.
    const timer = setTimeout(leave, Math.max(0, Math.ceil(trip.deadlineAt - now()) + 1));
    try {
      return await turn;
    } finally {
      clearTimeout(timer);
      trip.onGone = () => {};
    }
  }

  /** Looks in the shared store, else draws; whoever follows hears of it, whatever happens. */
  async #lead(
    trip: Trip,
    lead: Lead<Kept>,
    asked: Asked,
    keys: readonly string[],
    draw: () => Promise<WholeAnswer>,
  ): Promise<WholeAnswer> {
    try {
      const found = await this.#shared?.get(keys);
      if (found) {
        const kept = copyOf(found.kept);
        this.#memory.set(found.name, kept, { ttl: found.leftMs });
        lead.land(kept);
        return this.#hit(trip, kept);
      }
      const answer = await draw();
      const kept = this.#keep(asked, answer);
      if (kept) lead.land(kept);
      else lead.disperse();
      return this.#stamp(trip, 'miss', answer);
    } catch (error) {
      lead.fail(error);
      throw error;
    }
  }

  /** Keeps an answer where it may be kept; gives what others may share. */
  #keep(asked: Asked, answer: WholeAnswer): Kept | undefined {
    const kept = sharable(answer);
    const look = kept && lookOfAnswer(kept.headers, this.#parts.pool.upstreams());
    if (!kept || !look) return kept;
    const key = entryKey(asked, look);
    this.#memory.set(key, kept);
    this.#shared?.put(key, kept);
    return kept;
  }

  #looks({ request: { style }, priority, lane }: Wanted): readonly Look[] {
    const name = style && normaliseStyle(style);
    const want = { style: name, priority, expectedMs: 0, tried: NOWHERE, lane };
    const serving = [...this.#parts.pool.serving(want)];
    const asked = JSON.stringify([name, firstOf(lane())]);
    if (serving.length === 0) return this.#lastLooks.get(asked) ?? [];
    const looks = looksOf(name, serving);
    if (looks.length > 0) this.#lastLooks.set(asked, looks);
    return looks;
  }

  #hit(trip: Trip, { headers, body }: Kept): WholeAnswer {
    const timings = {
      upload: trip.uploadMs,
      queue: trip.queueMs,
      total: this.#parts.now() - trip.startedAt,
    };
    return this.#stamp(trip, 'hit', {
      status: 200,
      headers: { ...headers, [HEADERS.serverTiming]: formatServerTiming(timings) },
      body,
    });
  }

  #stamp(trip: Trip, result: CacheResult, answer: WholeAnswer): WholeAnswer {
    trip.cache = result;
    if (this.#parts.settings.enabled) this.#parts.metrics.cacheRequests.inc({ result });
    return { ...answer, headers: { ...answer.headers, [HEADERS.cache]: result } };
  }
}

/** The release that a lane leads to while all can work; undefined for any. */
function firstOf(lane: Lane): string | undefined {
  switch (lane.kind) {
    case 'any':
      return undefined;
    case 'named':
      return lane.release;
    case 'weighted':
      return lane.order[0];
  }
}

/**
 * An answer as others may have it, as bytes of its own; undefined when nobody may. Of the worker's `Cache-Control` only
 * `no-store` forbids it: its `private, no-cache` is meant for caches on the way to the client, which know a picture by
 * its URL. This one is the service's own, and knows a picture by the photo it was drawn from.
 */
function sharable({ status, headers, body }: WholeAnswer): Kept | undefined {
  if (status !== 200 || !Buffer.isBuffer(body) || !headers['content-type']?.startsWith('image/'))
    return undefined;
  if (directivesOf(headers['cache-control']).has('no-store')) return undefined;
  const { [HEADERS.serverTiming]: _, ...others } = headers;
  return copyOf({ headers: others, body });
}

/** The same in memory of its own: what comes from a socket may be a slice of something larger, or be used again. */
function copyOf({ headers, body }: Kept): Kept {
  const own = Buffer.allocUnsafeSlow(body.length);
  body.copy(own);
  return { headers, body: own };
}
