// Holds the upstreams: what is known of each, who has how many pictures, who may take the next one.
// `claim` is pick + count with nothing awaited in between, so no worker ever has more pictures than slots.
// Knows no sockets: checks, rosters and forwarding report to it.

import type { Style } from '../../config/contract.ts';
import { normaliseStyle } from '../../config/image-request.ts';
import type { Target } from '../passage/forward.ts';
import { type Candidate, pick, type Tried } from '../schedule/pick.ts';
import type { Priority } from '../schedule/queue.ts';
import { type Destination, destinationOf, type Lane, leadsTo } from '../traffic/lane.ts';
import { afterWork, counts, type OutlierState, SOUND, slotsOf } from './outlier.ts';
import {
  type CheckCounts,
  JOINING,
  next,
  takesWork,
  type UpstreamEvent,
  type UpstreamState,
} from './upstream.ts';

/** What is known of an upstream from its agent, the settings, and its own answers. */
export interface Upstream extends Candidate {
  readonly target: Target;
  readonly state: UpstreamState;
  /** Whether it was taken out for failing at its work. */
  readonly outlier: OutlierState;
  /** Its node is being drained. */
  readonly nodeDraining: boolean;
  readonly slots: number;
  /** The version that runs there; undefined where nobody tells. */
  readonly release: string | undefined;
  /** Exchanges that have not ended; a slot that was given back early leaves its answer still on the way. */
  readonly inFlight: number;
  /** What it can draw; undefined until it was asked. */
  readonly styles: readonly Style[] | undefined;
}

/** What a source of upstreams tells. */
export interface UpstreamFacts {
  readonly id: string;
  readonly target: Target;
  readonly node: string | undefined;
  readonly slots: number;
  readonly nodeDraining: boolean;
  readonly release?: string | undefined;
  /** Undefined for upstreams that no agent speaks for. */
  readonly zone?: string;
  /** Its VM may be taken away at any time: it gets only what may wait for a second try. */
  readonly preemptible?: boolean;
  /** As its agent measured it; what this balancer measures itself counts more. */
  readonly msPerMegapixel?: number | null;
}

/** What one attempt needs. */
export interface Want {
  /** A style or an alias, as {@link normaliseStyle} writes it; undefined asks for the default, which every worker has. */
  readonly style: string | undefined;
  readonly priority: Priority;
  /** How long it will probably keep the slot. */
  readonly expectedMs: number;
  /** To how little its worker would bring that down for want of time (`effort=auto`); undefined: to nothing less. */
  readonly leastMs?: number | undefined;
  readonly tried: Tried;
  /** Which releases may draw it, asked whenever that matters, since weights may change while it waits; undefined: all. */
  readonly lane?: () => Lane;
}

/** How much work is under way on the slots that could serve something. */
export interface Running {
  readonly slots: number;
  readonly free: number;
  /** Σ of what the running pictures will probably still take. */
  readonly residualMs: number;
}

/** A slot in the hand. */
export interface Claim {
  readonly upstream: Upstream;
  /** Gives the slot back; a second call does nothing. */
  readonly release: () => void;
  /** Registers how to end what runs on the slot, should its worker be found dead; returns how to forget it. */
  readonly onDeath: (cut: (cause: Error) => void) => () => void;
}

/** What the pool tells its owner. */
export interface PoolEvents {
  /** An upstream's state is of another kind now. */
  changed(upstream: Upstream, from: UpstreamState['kind'], event: UpstreamEvent): void;
  /** An upstream was taken out for failing at its work (`out`), or did a picture well again (`in`). */
  judged(upstream: Upstream): void;
  /** No release that has a weight can draw something, so those without one do. */
  unweighted?(): void;
  /** A slot may have become free (`slot`), or upstreams may be usable or unusable now (`fleet`). */
  stirred(what: 'slot' | 'fleet'): void;
}

/** How long a worker that said "busy" counts as taken, and the spread that keeps balancers from asking in step. */
const BUSY_HOLD_MS = 25;
const BUSY_HOLD_SPREAD_MS = 10;

/** A worker without an agent may be started again between two checks, and draw otherwise than before. */
const STYLES_AGE_MS = 30_000;

/** How long a just (re)admitted upstream is spared while others are free. */
const WARMING_MS = 10_000;
/** How much one picture counts in a pace. */
const PACE_FORGET = 0.2;
/** A picture that runs longer than expected is expected to take this part of its time again. */
const OVERDUE = 0.25;

interface Seat extends Upstream {
  state: UpstreamState;
  outlier: OutlierState;
  nodeDraining: boolean;
  node: string | undefined;
  slots: number;
  release: string | undefined;
  taken: number;
  styles: readonly Style[] | undefined;
  /** When it was asked for its styles. */
  stylesAt: number;
  names: ReadonlySet<string> | undefined;
  /** Until then it counts as full. */
  heldUntil: number;
  readonly cuts: Set<(cause: Error) => void>;
  readonly running: Set<{ readonly startedAt: number; readonly expectedMs: number }>;
  zone: string | undefined;
  preemptible: boolean;
  msPerMegapixel: number | undefined;
  /** Measured by this balancer. */
  ownPace: number | undefined;
  pace: number | undefined;
  nearby: boolean;
  /** When it became usable. */
  upSince: number;
  warmth: number;
}

export interface PoolOptions {
  readonly counts: CheckCounts;
  /** The balancer's own zone. */
  readonly zone: string;
  readonly random: () => number;
  readonly now: () => number;
  readonly events: PoolEvents;
}

export class Pool {
  readonly #seats = new Map<string, Seat>();
  readonly #options: PoolOptions;

  constructor(options: PoolOptions) {
    this.#options = options;
  }

  /** Takes an upstream in, or what is new about one that is known. */
  put(facts: UpstreamFacts): void {
    const known = this.#seats.get(facts.id);
    if (!known) {
      this.#seats.set(facts.id, {
        ...facts,
        state: JOINING,
        outlier: SOUND,
        release: facts.release,
        taken: 0,
        get inFlight() {
          return Math.max(this.taken, this.cuts.size);
        },
        styles: undefined,
        stylesAt: Number.NEGATIVE_INFINITY,
        names: undefined,
        heldUntil: 0,
        cuts: new Set(),
        running: new Set(),
        zone: facts.zone,
        preemptible: facts.preemptible === true,
        msPerMegapixel: facts.msPerMegapixel ?? undefined,
        ownPace: undefined,
        pace: undefined,
        nearby: this.#isNearby(facts.zone),
        upSince: Number.POSITIVE_INFINITY,
        warmth: 0,
      });
      this.#paceByAgents();
      return;
    }
    const preemptible = facts.preemptible === true;
    const stirs =
      known.nodeDraining !== facts.nodeDraining ||
      known.slots !== facts.slots ||
      known.preemptible !== preemptible ||
      known.release !== facts.release;
    known.nodeDraining = facts.nodeDraining;
    known.slots = facts.slots;
    known.release = facts.release;
    known.node = facts.node ?? known.node;
    known.zone = facts.zone;
    known.nearby = this.#isNearby(facts.zone);
    known.preemptible = preemptible;
    if (facts.msPerMegapixel !== undefined && facts.msPerMegapixel !== known.msPerMegapixel) {
      known.msPerMegapixel = facts.msPerMegapixel ?? undefined;
      this.#paceByAgents();
    }
    if (stirs) this.#options.events.stirred('fleet');
  }

  #isNearby(zone: string | undefined): boolean {
    return zone === undefined || zone === this.#options.zone;
  }

  /** What agents measured stands in for a worker's pace until this balancer has measured it itself. */
  #paceByAgents(): void {
    const rates = [...this.#seats.values()].flatMap(({ msPerMegapixel: rate }) => (rate ? [rate] : []));
    const mean = rates.reduce((sum, rate) => sum + rate, 0) / rates.length;
    for (const seat of this.#seats.values())
      seat.pace = seat.ownPace ?? (seat.msPerMegapixel ? seat.msPerMegapixel / mean : undefined);
  }

  /** A picture ended there: well, or by a fault of the upstream. */
  noteWork(id: string, end: 'success' | 'fault'): void {
    const seat = this.#seats.get(id);
    if (!seat) return;
    const before = seat.outlier;
    const { now, random, events } = this.#options;
    seat.outlier = afterWork(before, end, this.#census(), now(), random);
    if (seat.outlier === before || (seat.outlier.kind === 'in' && before.kind === 'in')) return;
    events.judged(seat);
    events.stirred('fleet');
  }

  #census() {
    let [healthy, out] = [0, 0];
    for (const { state, outlier } of this.#seats.values()) {
      if (!takesWork(state)) continue;
      healthy += 1;
      if (outlier.kind === 'out') out += 1;
    }
    return { healthy, out };
  }

  /** A picture that was expected to take `expectedMs` took `tookMs` there. */
  learnPace(id: string, tookMs: number, expectedMs: number): void {
    const seat = this.#seats.get(id);
    if (!seat || expectedMs <= 0) return;
    const ratio = Math.min(10, Math.max(0.1, tookMs / expectedMs));
    seat.ownPace = seat.ownPace === undefined ? ratio : seat.ownPace + PACE_FORGET * (ratio - seat.ownPace);
    seat.pace = seat.ownPace;
  }

  /** Tells what happened to an upstream. Unknown ids are passed over: a check may outlive its upstream. */
  tell(id: string, event: UpstreamEvent): void {
    const seat = this.#seats.get(id);
    if (!seat) return;
    const before = seat.state;
    seat.state = next(before, event, this.#options.counts);
    if (seat.state.kind === 'gone') this.#seats.delete(id);
    if (seat.state.kind === before.kind) return;
    // What runs on a worker that does not answer checks would hang until its deadline; cut, it is replayed elsewhere.
    // A worker that is merely gone from the roster finishes what it has.
    if (seat.state.kind === 'ejected') {
      const cause = new Error(`ejected: ${seat.state.reason}`);
      for (const cut of [...seat.cuts]) cut(cause);
    }
    if (event.kind === 'loading' || seat.state.kind === 'ejected') forgetVersions(seat);
    // Started again, it begins anew.
    if (event.kind === 'loading') seat.outlier = SOUND;
    // Back from a drain it is as warm as it was.
    if (seat.state.kind === 'up' && before.kind !== 'draining') seat.upSince = this.#options.now();
    this.#options.events.changed(seat, before.kind, event);
    this.#options.events.stirred('fleet');
  }

  /** Learns from an upstream's own answers which node it is on. */
  learnNode(id: string, node: string): void {
    const seat = this.#seats.get(id);
    if (seat) seat.node = node;
  }

  /** Learns what an upstream can draw. */
  learnStyles(id: string, styles: readonly Style[]): void {
    const seat = this.#seats.get(id);
    if (!seat) return;
    seat.styles = styles;
    seat.stylesAt = this.#options.now();
    seat.names = new Set(styles.flatMap((style) => [style.id, ...style.aliases]).map(normaliseStyle));
    this.#options.events.stirred('fleet');
  }

  /** Whether an upstream is to be asked what it draws: never asked, out in between, or asked long ago. */
  wantsStyles(id: string): boolean {
    const seat = this.#seats.get(id);
    return seat !== undefined && this.#options.now() - seat.stylesAt > STYLES_AGE_MS;
  }

  /** A worker said "busy": somebody else has its slot. It counts as full for a moment. Returns that moment's end. */
  hold(id: string): number {
    const { now, random } = this.#options;
    const until = now() + BUSY_HOLD_MS + BUSY_HOLD_SPREAD_MS * random();
    const seat = this.#seats.get(id);
    if (seat) seat.heldUntil = until;
    return until;
  }

  /** Takes a free slot that fits, or undefined. Pick and count are one step. */
  claim(want: Want): Claim | undefined {
    const now = this.#options.now();
    const seat = pick(this.#free(want, now), want.tried, this.#options.random);
    if (!seat) return undefined;
    seat.taken += 1;
    const run = { startedAt: now, expectedMs: want.expectedMs };
    seat.running.add(run);
    let given = false;
    return {
      upstream: seat,
      release: () => {
        if (given) return;
        given = true;
        seat.taken -= 1;
        seat.running.delete(run);
        this.#options.events.stirred('slot');
      },
      onDeath: (cut) => {
        seat.cuts.add(cut);
        return () => seat.cuts.delete(cut);
      },
    };
  }

  /** The upstreams that could draw this at this moment, had they a slot free. */
  *serving(want: Want): Iterable<Upstream> {
    const now = this.#options.now();
    const to = this.#destination(want, now);
    for (const seat of this.#seats.values()) if (serves(seat, want, to, now)) yield seat;
  }

  /** Whether anything that takes work could ever serve this, were a slot free. */
  possible(want: Want): boolean {
    const now = this.#options.now();
    const to = this.#destination(want, now);
    for (const seat of this.#seats.values()) {
      if (want.tried.upstreams.has(seat.id)) continue;
      if (serves(seat, want, to, now)) return true;
      // A picture whose worker died has been accepted: it waits for one that is just coming up, as after a restart.
      if (want.tried.upstreams.size > 0 && seat.state.kind === 'joining') return true;
    }
    return false;
  }

  /** Whether any slot is free, whoever it may serve. */
  anyFree(): boolean {
    const now = this.#options.now();
    for (const seat of this.#seats.values()) if (freeSlots(seat, now) > 0 && usable(seat, now)) return true;
    return false;
  }

  /** The work under way on the slots that could serve this. */
  running(want: Want): Running {
    const now = this.#options.now();
    const to = this.#destination(want, now);
    let [slots, free, residualMs] = [0, 0, 0];
    for (const seat of this.#seats.values()) {
      if (!serves(seat, want, to, now) || want.tried.upstreams.has(seat.id)) continue;
      slots += slotsOf(seat.outlier, seat.slots);
      free += freeSlots(seat, now);
      for (const { startedAt, expectedMs } of seat.running)
        residualMs += Math.max(startedAt + expectedMs - now, expectedMs * OVERDUE);
    }
    return { slots, free, residualMs };
  }

  /** Whether any upstream takes work at all. */
  usable(): boolean {
    const now = this.#options.now();
    for (const seat of this.#seats.values()) if (usable(seat, now)) return true;
    return false;
  }

  /** Whether work may be given to this one now, were a slot of it free. */
  takesWork(id: string): boolean {
    const seat = this.#seats.get(id);
    return seat !== undefined && usable(seat, this.#options.now());
  }

  /** All upstreams, for those who watch. */
  upstreams(): Iterable<Upstream> {
    return this.#seats.values();
  }

  get(id: string): Upstream | undefined {
    return this.#seats.get(id);
  }

  /** The upstreams of one node that answer, drained ones too: stored results are still theirs to give. */
  ofNode(node: string): Upstream[] {
    return [...this.#seats.values()].filter(
      (seat) => seat.node === node && (seat.state.kind === 'up' || seat.state.kind === 'draining'),
    );
  }

  /** Workers that draw a style by this very id. */
  ofStyle(id: string): Upstream[] {
    return [...this.#seats.values()].filter(
      (seat) =>
        (seat.state.kind === 'up' || seat.state.kind === 'draining') &&
        seat.styles?.some((style) => style.id === id),
    );
  }

  /** Whether it is known that nobody who takes work can draw this style. */
  cannotDraw(style: string): boolean {
    const now = this.#options.now();
    let known = false;
    for (const seat of this.#seats.values()) {
      if (!usable(seat, now)) continue;
      if (seat.names === undefined || seat.names.has(normaliseStyle(style))) return false;
      known = true;
    }
    return known;
  }

  /** The styles that can be drawn now, in the order of the workers' own lists; those of leaving workers as a last resort. */
  styles(): readonly Style[] {
    const seats = [...this.#seats.values()].filter((seat) => seat.styles !== undefined);
    const now = this.#options.now();
    const able = seats.filter((seat) => usable(seat, now));
    const sources = able.length > 0 ? able : seats;
    const byId = new Map<string, Style>();
    for (const { styles } of sources)
      for (const style of styles ?? []) if (!byId.has(style.id)) byId.set(style.id, style);
    return [...byId.values()];
  }

  /** The release that will draw this as things stand; undefined when it is not bound to one. */
  releaseFor(want: Want): string | undefined {
    const to = this.#destination(want, this.#options.now());
    return to.kind === 'release' ? to.release : undefined;
  }

  /** Whether any worker of a release is known, whatever its state. */
  knowsRelease(release: string): boolean {
    for (const seat of this.#seats.values()) if (seat.release === release) return true;
    return false;
  }

  #destination(want: Want, now: number): Destination {
    const lane = want.lane?.();
    if (lane === undefined || lane.kind === 'any') return EVERYBODY;
    const to = destinationOf(lane, (release) => {
      for (const seat of this.#seats.values())
        if (
          seat.release === release &&
          !want.tried.upstreams.has(seat.id) &&
          serves(seat, want, EVERYBODY, now)
        )
          return true;
      return false;
    });
    if (to.kind === 'unweighted') this.#options.events.unweighted?.();
    return to;
  }

  *#free(want: Want, now: number): Iterable<Seat> {
    const to = this.#destination(want, now);
    for (const seat of this.#seats.values()) {
      if (freeSlots(seat, now) === 0 || !serves(seat, want, to, now)) continue;
      seat.warmth = Math.min(1, (now - seat.upSince) / WARMING_MS);
      yield seat;
    }
  }
}

/** It may be another process when it comes back, with other models: until it was asked, nobody knows what it draws. */
function forgetVersions(seat: Seat): void {
  seat.styles = seat.styles?.map(({ version: _, ...style }) => style);
  seat.stylesAt = Number.NEGATIVE_INFINITY;
}

function usable(seat: Seat, now: number): boolean {
  return takesWork(seat.state) && !seat.nodeDraining && counts(seat.outlier, now);
}

/** How many more pictures it may have at this moment. */
function freeSlots(seat: Seat, now: number): number {
  return seat.heldUntil <= now ? Math.max(0, slotsOf(seat.outlier, seat.slots) - seat.taken) : 0;
}

const EVERYBODY: Destination = { kind: 'everybody' };

function serves(seat: Seat, { style, priority }: Want, to: Destination, now: number): boolean {
  return (
    usable(seat, now) &&
    leadsTo(to, seat.release) &&
    (priority === 'batch' || !seat.preemptible) &&
    (style === undefined || seat.names === undefined || seat.names.has(style))
  );
}
