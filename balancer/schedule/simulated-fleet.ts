// For tests: the balancer's own pool, line and costs in front of sleeping workers, on a clock that only the play moves.
// The balancer's event loop is played too: whatever reaches it while it is held up is seen late, as on a machine that is
// short of cores. Nothing here waits for real time, so a play repeats itself to the last number.

import { ToonError } from '../../config/errors.ts';
import { Pool, type Want } from '../fleet/pool.ts';
import { Costs } from './cost.ts';
import { Dispatch, type Ticket } from './dispatch.ts';
import { NOWHERE } from './pick.ts';
import { Punctuality } from './punctuality.ts';
import type { QueueOrder } from './queue.ts';

/** One picture as its client sends it. */
export interface PlayedPicture {
  readonly atMs: number;
  readonly megapixels: number;
  /** Ms for which its worker draws. */
  readonly serviceMs: number;
}

export interface Play {
  readonly pictures: readonly PlayedPicture[];
  readonly slots: number;
  readonly order: QueueOrder;
  readonly patienceMs: number;
  /** From the worker's last byte, or a client's first, until the balancer's kernel has it. */
  readonly wireMs: number;
  /** So much of its patience a client had used up, unknown to the balancer, when its request came. */
  readonly clientAheadMs?: number;
  /** While a slot is free but the answer is still being encoded. */
  readonly tailMs?: number;
  /** When the event loop stands still, and for how long. */
  readonly stalls?: readonly { readonly atMs: number; readonly forMs: number }[];
  readonly random: () => number;
}

/** How one picture ended for its client. */
export interface PlayedEnd {
  readonly kind: 'answered' | 'refused' | 'failed';
  /** From the moment when it was sent. */
  readonly ms: number;
  readonly reason?: string;
}

/** Plays all pictures to their ends, in the order of the pictures. */
export async function playFleet(play: Play): Promise<PlayedEnd[]> {
  let now = 0;
  const events: { readonly at: number; readonly run: () => void; readonly id: number }[] = [];
  let id = 0;
  const at = (time: number, run: () => void) => {
    const event = { at: time, run, id: id++ };
    let index = events.length;
    while (index > 0 && (events[index - 1]?.at ?? 0) > time) index -= 1;
    events.splice(index, 0, event);
    return () => {
      const found = events.indexOf(event);
      if (found >= 0) events.splice(found, 1);
    };
  };
  const stalls = play.stalls ?? [];
  /** When the event loop sees what happened at a time. */
  const seen = (time: number) => {
    const stall = stalls.find((each) => each.atMs <= time && time < each.atMs + each.forMs);
    return stall ? stall.atMs + stall.forMs : time;
  };

  const punctuality = new Punctuality();
  const costs = new Costs();
  const pool: Pool = new Pool({
    counts: { rise: 2, fall: 2 },
    zone: 'default',
    random: play.random,
    now: () => now,
    events: { changed() {}, judged() {}, stirred: (what) => dispatch.stir(what) },
  });
  const dispatch: Dispatch = new Dispatch({
    pool,
    queueLength: 100_000,
    order: play.order,
    overloadMs: 1000,
    now: () => now,
    after: (ms, call) => at(seen(now + ms), call),
    latenessMs: () => punctuality.latenessMs(now),
    recoveryMs: 1000,
  });
  for (let slot = 0; slot < play.slots; slot++) {
    const target = { origin: String(slot), protocol: 'http:' as const, hostname: 'w', port: 1 + slot };
    pool.put({ id: `w${slot}`, target, node: undefined, slots: 1, nodeDraining: false });
    pool.tell(`w${slot}`, { kind: 'passed' });
  }
  for (const { atMs, forMs } of stalls) at(atMs + forMs, () => punctuality.noteLag(now, forMs));

  const ends: PlayedEnd[] = [];
  const come = (picture: PlayedPicture, index: number) => {
    const arrivedAt = now;
    const { megapixels } = picture;
    const want: Want = {
      style: undefined,
      priority: 'interactive',
      expectedMs: costs.expect(undefined, megapixels),
      tried: NOWHERE,
    };
    const end = (kind: PlayedEnd['kind'], reason?: string) => {
      ends[index] ??= {
        kind,
        ms: now + play.wireMs - picture.atMs,
        ...(reason === undefined ? {} : { reason }),
      };
    };
    // The client gives up by its own clock, and the balancer sees it go.
    const deadlineAt = arrivedAt + play.patienceMs;
    at(seen(picture.atMs + play.patienceMs - (play.clientAheadMs ?? 0) + 0.001), () => {
      if (ends[index]) return;
      end('failed');
      punctuality.noteGone(now, deadlineAt - now, play.patienceMs);
    });
    const refused = (error: unknown) => {
      if (!(error instanceof ToonError)) throw error;
      end('refused', String(error.cause));
    };
    let ticket: Ticket;
    try {
      ticket = dispatch.enter({ want, arrivedAt, deadlineAt, returning: false });
    } catch (error) {
      return refused(error);
    }
    ticket.claim.then(({ upstream, release }) => {
      const from = now;
      const drawnAt = now + 2 * play.wireMs + picture.serviceMs;
      let freedAt = 0;
      at(seen(drawnAt), () => {
        freedAt = now;
        release();
      });
      at(seen(drawnAt + (play.tailMs ?? 0)), () => {
        pool.learnPace(upstream.id, freedAt - from, want.expectedMs);
        costs.learn(undefined, megapixels, freedAt - from);
        punctuality.noteAnswer(now - from - want.expectedMs);
        end('answered');
      });
    }, refused);
  };
  for (const [index, picture] of play.pictures.entries())
    at(seen(picture.atMs + play.wireMs), () => come(picture, index));
  for (let next = events.shift(); next; next = events.shift()) {
    now = Math.max(now, next.at);
    next.run();
    // What was promised is heard before the next event: a slot is given through one promise, a refusal too.
    for (let turn = 0; turn < 3; turn++) await Promise.resolve();
  }
  return ends;
}
