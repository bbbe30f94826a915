// Who works on this node, what each last said, and which balancer has been told. Pure: the clock is an argument, and
// nothing here speaks to anybody.
//
//   announce ──► known ──(no heartbeat for LATE_MS)──► late ──(answers a probe)──► known
//                  │                                     └─(refuses it, or silent for GONE_MS)──► gone
//                  └──(says goodbye)──► gone

import type { NodeRoster, NodeScale, RosterWorker, WorkerReport } from '../../config/contract.ts';

/** A worker repeats its announcement every second; one that missed a beat is asked. */
export const LATE_MS = 1_500;
/** One that neither beats nor answers for so long is gone. */
export const GONE_MS = 3_000;

/** A worker that came or changed is known to every balancer, and has passed its checks, after so long. */
export const SETTLED_MS = 5_000;

/** The node, as the settings tell it. */
export type NodeIdentity = Pick<NodeRoster, 'node' | 'zone' | 'release' | 'preemptible'>;

/** How a probe of a late worker ended. */
export type Probe =
  | { readonly kind: 'answered'; readonly report: WorkerReport }
  /** Nobody listens there, or somebody else does. */
  | { readonly kind: 'refused' }
  | { readonly kind: 'silent' };

interface Entry {
  readonly report: WorkerReport;
  readonly heardAt: number;
  /** The roster's version when this worker's state last changed. */
  readonly version: number;
}

interface Asker {
  readonly askedAt: number;
  /** The newest version that its answers carried. */
  readonly given: number;
}

/** The workers of one node. `windowMs`: a balancer that has not asked for so long is not waited for. */
export class Roster {
  readonly #workers = new Map<string, Entry>();
  readonly #askers = new Map<string, Asker>();
  readonly #since: number;
  readonly #windowMs: number;
  #version = 0;
  /** When a worker last came or changed. */
  #changedAt = Number.NEGATIVE_INFINITY;
  #draining = false;
  /** The version since which the node drains, or works again. */
  #drainVersion = 0;

  constructor(now: number, windowMs: number) {
    this.#since = now;
    this.#windowMs = windowMs;
  }

  /** Grows with every change that a balancer must know. */
  get version(): number {
    return this.#version;
  }

  /** Takes what a worker says about itself, be it news or a heartbeat. True when a worker came or moved. */
  announce(report: WorkerReport, now: number): boolean {
    const known = this.#workers.get(report.id);
    const news = !known || known.report.state !== report.state || !sameSeat(known.report, report);
    if (news) {
      this.#version++;
      this.#changedAt = now;
    }
    this.#workers.set(report.id, {
      report,
      heardAt: now,
      version: known && !news ? known.version : this.#version,
    });
    return !known || !sameSeat(known.report, report);
  }

  /** Takes a worker off the roster. True when it stood there. */
  leave(id: string): boolean {
    const stood = this.#workers.delete(id);
    if (stood) this.#version++;
    return stood;
  }

  /** Notes that a balancer was given the roster as it stood at `version`. */
  given(balancer: string, version: number, now: number): void {
    for (const [name, asker] of this.#askers)
      if (now - asker.askedAt > this.#windowMs) this.#askers.delete(name);
    const before = this.#askers.get(balancer)?.given ?? 0;
    this.#askers.set(balancer, { askedAt: now, given: Math.max(before, version) });
  }

  /**
   * Whether every balancer that asked lately has been given this worker's present state. A roster younger than the
   * window that nobody has asked yet does not know who its balancers are, so it says no.
   */
  seen(id: string, now: number): boolean {
    const entry = this.#workers.get(id);
    return entry !== undefined && this.#seenSince(entry.version, now);
  }

  #seenSince(version: number, now: number): boolean {
    const lately = [...this.#askers.values()].filter(({ askedAt }) => now - askedAt <= this.#windowMs);
    if (lately.length === 0) return now - this.#since >= this.#windowMs;
    return lately.every(({ given }) => given >= version);
  }

  /**
   * Whether a tired worker may leave now: one at a time, and only while all others have worked for a while. A newcomer says
   * "ready" some checks before balancers send it pictures.
   * @param full How many workers the node has when nobody is missing.
   */
  mayRest(id: string, full: number, now: number): boolean {
    if (!this.settled(now)) return false;
    const reports = this.reports();
    const first = reports.find(({ tired }) => tired);
    return first?.id === id && reports.length >= full;
  }

  /** A tired worker was let go: others stay until it has been replaced. */
  resting(now: number): void {
    this.#changedAt = now;
  }

  /** Whether all workers work, and have for a while: nobody is coming, leaving or being replaced. */
  settled(now: number): boolean {
    return now - this.#changedAt >= SETTLED_MS && this.reports().every(({ state }) => state === 'ready');
  }

  /** Whether the node takes no new pictures. */
  get draining(): boolean {
    return this.#draining;
  }

  /** Turns the node's drain on or off. */
  drain(draining: boolean): void {
    if (draining === this.#draining) return;
    this.#draining = draining;
    this.#drainVersion = ++this.#version;
  }

  /** Whether every balancer that asked lately knows whether the node drains. */
  drainSeen(now: number): boolean {
    return this.#seenSince(this.#drainVersion, now);
  }

  /** Workers whose heartbeat is overdue. */
  late(now: number): WorkerReport[] {
    return [...this.#workers.values()]
      .filter(({ heardAt }) => now - heardAt > LATE_MS)
      .map(({ report }) => report);
  }

  /** Draws the conclusion from a probe. True when the worker is gone. */
  probed(id: string, probe: Probe, now: number): boolean {
    const entry = this.#workers.get(id);
    if (!entry) return false;
    switch (probe.kind) {
      case 'answered':
        this.announce(probe.report, now);
        return false;
      case 'refused':
        // A heartbeat may have come while the probe was on its way.
        return now - entry.heardAt > LATE_MS && this.leave(id);
      case 'silent':
        return now - entry.heardAt > GONE_MS && this.leave(id);
    }
  }

  /** What the workers last said, in the order in which they came. */
  reports(): WorkerReport[] {
    return [...this.#workers.values()].map(({ report }) => report);
  }

  /** The roster as balancers read it. */
  view(node: NodeIdentity, scale?: NodeScale): NodeRoster {
    const workers = this.reports().map(rosterRow);
    return { ...node, draining: this.#draining, workers, ...(scale && { scale }) };
  }
}

function rosterRow(report: WorkerReport): RosterWorker {
  const { rss_bytes: _rss, event_loop_lag_ms: _lag, tired: _tired, ...row } = report;
  return row;
}

function sameSeat(a: WorkerReport, b: WorkerReport): boolean {
  return (
    a.pid === b.pid &&
    a.url === b.url &&
    a.slots === b.slots &&
    a.models.length === b.models.length &&
    a.models.every((model, index) => model === b.models[index])
  );
}
