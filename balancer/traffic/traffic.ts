// Divides traffic among releases and watches canaries. Owns what was seen of each release since the weights were set;
// who goes where is decided in `lane.ts`, whether a canary has to go in `rollback.ts`, and what was wished is kept in
// `state.ts`.

import { baseOf, type RollbackWish, type TrafficReply, type Traffic as Wish } from '../../config/admin.ts';
import { HEADERS } from '../../config/contract.ts';
import { ToonError } from '../../config/errors.ts';
import type { Log } from '../../ops/process/log.ts';
import type { BalancerMetrics } from '../../ops/process/metrics.ts';
import type { Pool } from '../fleet/pool.ts';
import type { Events } from './events.ts';
import { type Lane, laneOf } from './lane.ts';
import { judgeCanary, type Seen } from './rollback.ts';
import type { StateFile } from './state.ts';
import { faultOfWeights, RELEASE_NAME, type Weights } from './weights.ts';

export interface TrafficParts {
  readonly state: StateFile;
  readonly pool: Pick<Pool, 'knowsRelease'>;
  readonly events: Events;
  readonly metrics: BalancerMetrics;
  readonly log: Log;
  /** The time of day, for what people read. */
  readonly clock: () => Date;
}

/** How an attempt on a release ended. */
export interface AttemptEnd {
  readonly release: string | undefined;
  readonly end: 'success' | 'fault';
  /** Its time over what such a picture usually takes; undefined where that says nothing. */
  readonly pace: number | undefined;
}

/** So many attempts of a release are remembered; what is older than them is no news of it. */
const REMEMBERED = 500;
const WARN_EVERY_MS = 60_000;
const EVERYBODY: Lane = { kind: 'any' };

export class Traffic {
  readonly #parts: TrafficParts;
  readonly #seen = new Map<string, Omit<AttemptEnd, 'release'>[]>();
  /** All of them, also those that are no longer remembered. */
  readonly #counts = new Map<string, { attempts: number; faults: number }>();
  #wish: Wish;
  #weightsText = '';
  #warnedAt = 0;

  constructor(parts: TrafficParts) {
    this.#parts = parts;
    this.#wish = parts.state.state.traffic;
    this.obey(this.#wish);
  }

  get wish(): Wish {
    return this.#wish;
  }

  /** The wish and what came of it, for whoever asks. */
  told(): TrafficReply {
    return { ...this.#wish, seen: Object.fromEntries(this.#counts) };
  }

  /**
   * Where one client's requests may go; asked again whenever it matters, it knows of weights that were set meanwhile.
   * @throws {ToonError} `bad_request` for a release by name that nobody runs.
   */
  laneFor(client: string, headers: Readonly<Record<string, string | string[] | undefined>>): () => Lane {
    const given = headers[HEADERS.release];
    const named = given === undefined ? undefined : this.#namedRelease(given);
    let weights: Weights | null | undefined;
    let lane: Lane = EVERYBODY;
    return () => {
      if (weights !== this.#wish.weights) {
        weights = this.#wish.weights;
        lane = laneOf(weights ?? undefined, client, named);
      }
      return lane;
    };
  }

  #namedRelease(given: string | string[]): string {
    if (typeof given === 'string' && RELEASE_NAME.test(given) && this.#parts.pool.knowsRelease(given))
      return given;
    throw new ToonError('bad_request', { detail: 'X-Release: no worker runs this release.' });
  }

  /** None of the releases that have a weight can work: said, but not for every picture. */
  noteUnweighted(): void {
    const { log, clock } = this.#parts;
    const now = clock().getTime();
    if (now - this.#warnedAt < WARN_EVERY_MS) return;
    this.#warnedAt = now;
    log.warn(
      { weights: this.#wish.weights },
      'no release that has a weight can work; those without one are asked',
    );
  }

  /** Takes in how an attempt ended, and rolls a canary back when it has to go. */
  note({ release, end, pace }: AttemptEnd): void {
    if (release === undefined || this.#wish.weights === null) return;
    this.#parts.metrics.releaseAttempts.inc({ release, end });
    const list = this.#seen.get(release) ?? [];
    this.#seen.set(release, list);
    list.push({ end, pace });
    if (list.length > REMEMBERED) list.shift();
    const { attempts, faults } = this.#counts.get(release) ?? { attempts: 0, faults: 0 };
    this.#counts.set(release, { attempts: attempts + 1, faults: faults + (end === 'fault' ? 1 : 0) });
    if (this.#wish.rollback) this.#judge(release, this.#wish.weights, this.#wish.rollback);
  }

  #judge(release: string, weights: Weights, limits: RollbackWish): void {
    const base = baseOf(weights, limits);
    if (release === base || !((weights[release] ?? 0) > 0)) return;
    const verdict = judgeCanary(this.#seenOf(release), this.#seenOf(base), {
      maxErrorRatio: limits.max_error_ratio,
      maxLatencyRatio: limits.max_latency_ratio,
      minRequests: limits.min_requests,
    });
    if (verdict.kind !== 'roll_back') return;
    const { reason, sentence } = verdict;
    const { log, events, metrics, state, clock } = this.#parts;
    log.error({ release, base, reason, why: sentence }, 'canary rolled back');
    metrics.rollbacks.inc({ reason });
    // Its share goes to the base, so that nobody else's changes.
    const after = {
      ...weights,
      [release]: 0,
      [base]: (weights[base] ?? 0) + (weights[release] ?? 0),
    };
    const wish: Wish = {
      weights: after,
      rollback: limits,
      rolled_back: { release, reason, sentence, at: clock().toISOString() },
    };
    events.tell('rollback', { release, base, reason, why: sentence, weights: after });
    try {
      state.change((before) => ({ ...before, traffic: wish }));
    } catch (error) {
      // A full disk is no reason to go on with a bad release: it goes, and the next start may bring it back.
      log.error({ error }, 'the rollback could not be kept');
      this.obey(wish);
    }
  }

  #seenOf(release: string): Seen {
    const list = this.#seen.get(release) ?? [];
    return {
      attempts: list.length,
      faults: list.filter(({ end }) => end === 'fault').length,
      paces: list.flatMap(({ pace }) => (pace === undefined ? [] : [pace])),
    };
  }

  /**
   * Sets the wish of an operator; it holds when this returns.
   * @throws {ToonError} `bad_request`, naming what is wrong.
   */
  set(weights: Readonly<Record<string, unknown>> | null, rollback: RollbackWish | null): TrafficReply {
    if (weights !== null) {
      const fault = faultOfWeights(weights);
      if (fault !== undefined) throw new ToonError('bad_request', { detail: fault });
      if (rollback?.base !== undefined && !((weights as Weights)[rollback.base] ?? 0))
        throw new ToonError('bad_request', {
          detail: `rollback.base: ${rollback.base.slice(0, 70)} has no share of the traffic.`,
        });
    } else if (rollback !== null)
      throw new ToonError('bad_request', { detail: 'rollback: without weights there is no canary.' });
    const wish: Wish = { weights: weights as Weights | null, rollback, rolled_back: null };
    this.#parts.state.change((before) => ({ ...before, traffic: wish }));
    return this.told();
  }

  /** Follows what is kept now. */
  obey(wish: Wish): void {
    const text = JSON.stringify(wish);
    if (text === this.#weightsText) return;
    const first = this.#weightsText === '';
    this.#weightsText = text;
    this.#wish = wish;
    // What was seen under other shares says little about these.
    this.#seen.clear();
    this.#counts.clear();
    const { metrics, events, log } = this.#parts;
    metrics.trafficWeight.reset();
    for (const [release, weight] of Object.entries(wish.weights ?? {}))
      metrics.trafficWeight.set({ release }, weight);
    if (first) return;
    events.tell('traffic', { weights: wish.weights, rollback: wish.rollback });
    log.info({ weights: wish.weights, rollback: wish.rollback }, 'traffic divided');
  }
}
