// Holds the upstreams: what is known of each, who has how many pictures, who may take the next one.
// `claim` is pick + count with nothing awaited in between, so no worker ever has more pictures than slots.
// Knows no sockets: checks, rosters and forwarding report to it.

import type { Style } from '../config/contract.ts';
import type { Target } from './forward.ts';
import { type Candidate, pick, type Tried } from './pick.ts';
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
  /** Its node is being drained. */
  readonly nodeDraining: boolean;
  readonly slots: number;
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
}

/** What one attempt needs. */
export interface Want {
  /** A style or an alias; undefined asks for the default, which every worker has. */
  readonly style: string | undefined;
  readonly tried: Tried;
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
  /** A slot may have become free, or an upstream usable or unusable. */
  stirred(): void;
}

/** How long a worker that said "busy" counts as taken, and the spread that keeps balancers from asking in step. */
const BUSY_HOLD_MS = 25;
const BUSY_HOLD_SPREAD_MS = 10;

interface Seat extends Upstream {
  state: UpstreamState;
  nodeDraining: boolean;
  node: string | undefined;
  slots: number;
  taken: number;
  styles: readonly Style[] | undefined;
  names: ReadonlySet<string> | undefined;
  /** Until then it counts as full. */
  heldUntil: number;
  readonly cuts: Set<(cause: Error) => void>;
}

export interface PoolOptions {
  readonly counts: CheckCounts;
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
        taken: 0,
        styles: undefined,
        names: undefined,
        heldUntil: 0,
        cuts: new Set(),
      });
      return;
    }
    const stirs = known.nodeDraining !== facts.nodeDraining || known.slots !== facts.slots;
    known.nodeDraining = facts.nodeDraining;
    known.slots = facts.slots;
    known.node = facts.node ?? known.node;
    if (stirs) this.#options.events.stirred();
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
    this.#options.events.changed(seat, before.kind, event);
    this.#options.events.stirred();
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
    seat.names = new Set(styles.flatMap((style) => [style.id, ...style.aliases]));
    this.#options.events.stirred();
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
    let given = false;
    return {
      upstream: seat,
      release: () => {
        if (given) return;
        given = true;
        seat.taken -= 1;
        this.#options.events.stirred();
      },
      onDeath: (cut) => {
        seat.cuts.add(cut);
        return () => seat.cuts.delete(cut);
      },
    };
  }

  /** Whether anything that takes work could ever serve this, were a slot free. */
  possible(want: Want): boolean {
    for (const seat of this.#seats.values()) {
      if (serves(seat, want) && !want.tried.upstreams.has(seat.id)) return true;
    }
    return false;
  }

  /** Whether any upstream takes work at all. */
  usable(): boolean {
    for (const seat of this.#seats.values()) if (usable(seat)) return true;
    return false;
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

  /** Whether it is known that nobody who takes work can draw this style. */
  cannotDraw(style: string): boolean {
    let known = false;
    for (const seat of this.#seats.values()) {
      if (!usable(seat)) continue;
      if (seat.names === undefined || seat.names.has(style)) return false;
      known = true;
    }
    return known;
  }

  /** The styles that can be drawn now, in the order of the workers' own lists; those of leaving workers as a last resort. */
  styles(): readonly Style[] {
    const seats = [...this.#seats.values()].filter((seat) => seat.styles !== undefined);
    const sources = seats.some(usable) ? seats.filter(usable) : seats;
    const byId = new Map<string, Style>();
    for (const { styles } of sources)
      for (const style of styles ?? []) if (!byId.has(style.id)) byId.set(style.id, style);
    return [...byId.values()];
  }

  *#free(want: Want, now: number): Iterable<Seat> {
    for (const seat of this.#seats.values()) {
      if (seat.taken < seat.slots && seat.heldUntil <= now && serves(seat, want)) yield seat;
    }
  }
}

function usable(seat: Seat): boolean {
  return takesWork(seat.state) && !seat.nodeDraining;
}

function serves(seat: Seat, { style }: Want): boolean {
  return usable(seat) && (style === undefined || seat.names === undefined || seat.names.has(style));
}
