// Keeps the list of nodes and of their upstreams: asks every agent for its node's workers, and adds the plain upstreams.
// An agent that does not answer, or answers rubbish, changes nothing: the checks of its workers go on without it.
// What an agent says is judged row by row: it speaks for its own machine only, and a row that cannot be is left out,
// logged and counted, while the others stand.

import { z } from 'zod';
import {
  type BalancerLoad,
  formatLoad,
  HEADERS,
  INTERNAL_PATHS,
  type NodeScale,
  nodeRosterSchema,
  nodeScaleSchema,
  type RosterWorker,
  rosterWorkerSchema,
} from '../../config/contract.ts';
import type { Log } from '../../ops/process/log.ts';
import { nodeKeyHeader } from '../../ops/process/node-key.ts';
import type { Target } from '../passage/forward.ts';
import { type Ask, targetOf, whyNot } from './ask.ts';
import type { UpstreamFacts } from './pool.ts';
import { type SameHost, sameHost } from './same-host.ts';

/** What the roster tells of an upstream's coming and going. */
export interface RosterConsumer {
  put(facts: UpstreamFacts): void;
  /** Its agent says that it is leaving. */
  leaving(id: string): void;
  /** Its agent no longer lists it. */
  removed(id: string): void;
  /** Whether it is known to be leaving or dead, so that its absence is no surprise. */
  expectedToGo(id: string): boolean;
}

/** Why what an agent says was not taken as it stands. */
export type RosterFault =
  /** No JSON, or JSON that is no roster. */
  | 'bad_roster'
  /** An error status, such as for a wrong node key. */
  | 'refused'
  /** One worker's row cannot be: no slots, no address, listed twice. */
  | 'bad_worker'
  /** It names a worker on another machine, or its own port. */
  | 'foreign_worker'
  /** Another agent speaks for that worker already. */
  | 'taken_worker';

/** A node as the balancer knows it. */
export interface Member {
  /** As it is called by operators: as added, else its own name, else HOST:PORT. */
  readonly id: string;
  readonly kind: 'agent' | 'plain';
  readonly target: Target;
  readonly from: 'settings' | 'admin';
  /** Its own name, where an agent has told it. */
  readonly node: string | undefined;
  readonly release: string | undefined;
  /** Where an agent has told it. */
  readonly zone: string | undefined;
  /** How its number of workers is kept, where an agent tells it. */
  readonly scale: NodeScale | undefined;
  readonly draining: boolean;
  /** What is wrong with its agent; undefined while nothing is known to be. */
  readonly fault: string | undefined;
  /** The ids of its upstreams. */
  readonly upstreams: readonly string[];
}

export interface RosterOptions {
  readonly ask: Ask;
  readonly agents: readonly { readonly agent: string }[];
  readonly upstreams: readonly {
    readonly url: string;
    readonly slots: number;
    readonly release?: string | undefined;
  }[];
  readonly intervalMs: number;
  readonly timeoutMs: number;
  /** This balancer's own name: an agent tells its workers when every balancer has seen them. */
  readonly name: string;
  readonly nodeKey: string | undefined;
  /** What every agent is told with the question: its node scales by it. */
  readonly load?: () => BalancerLoad;
  readonly consumer: RosterConsumer;
  readonly log: Log;
  readonly sameHost?: SameHost;
  readonly onFault?: (fault: RosterFault) => void;
  /** A node came or went, is drained or works again, answers or does not. */
  readonly onNode?: (member: Member, what: 'added' | 'removed' | 'changed') => void;
}

/** What every member has. */
interface Seat {
  /** As it was called when it was added. */
  readonly givenId: string | undefined;
  readonly from: Member['from'];
  readonly target: Target;
  draining: boolean;
  release: string | undefined;
}

interface AgentSeat extends Seat {
  readonly kind: 'agent';
  node: string | undefined;
  zone: string | undefined;
  scale: NodeScale | undefined;
  /** The ids it listed last, with how many rosters in a row have missed them. */
  readonly listed: Map<string, number>;
  answers: boolean | undefined;
  fault: string | undefined;
  timer: NodeJS.Timeout | undefined;
  asking: Promise<void> | undefined;
}

interface PlainSeat extends Seat {
  readonly kind: 'plain';
  readonly slots: number;
}

/**
 * A worker that vanishes without a goodbye is kept for so many rosters: an agent that was just started does not know
 * its workers before their next heartbeat. Whether it lives is for the checks to say meanwhile.
 */
const MISSED_ROSTERS = 5;

/** A roster whose rows are not judged yet. */
const openRosterSchema = nodeRosterSchema.extend({
  workers: z.array(z.unknown()).max(1000),
  // Shown to people only: an agent that tells it otherwise is still an agent.
  scale: z.unknown().optional(),
});

export class Roster {
  readonly #options: RosterOptions;
  readonly #sameHost: SameHost;
  /** By origin. */
  readonly #seats = new Map<string, AgentSeat | PlainSeat>();
  /** Which agent speaks for an upstream. */
  readonly #speakers = new Map<string, AgentSeat>();
  #started = false;
  #closed = false;

  constructor(options: RosterOptions) {
    this.#options = options;
    this.#sameHost = options.sameHost ?? sameHost;
    for (const { agent } of options.agents) this.addAgent(agent, 'settings');
    for (const { url, ...more } of options.upstreams) this.addPlain(url, 'settings', more);
  }

  /** Adds the plain upstreams and begins to ask the agents. Resolves when each was asked once. */
  async start(): Promise<void> {
    this.#started = true;
    await Promise.all([...this.#seats.values()].map((seat) => this.#begin(seat)));
  }

  close(): void {
    this.#closed = true;
    for (const seat of this.#seats.values()) if (seat.kind === 'agent') clearTimeout(seat.timer);
  }

  /** Takes in a node with an agent. Resolves when that was asked once. */
  async addAgent(origin: string, from: Member['from'], givenId?: string): Promise<void> {
    const seat: AgentSeat = {
      kind: 'agent',
      givenId,
      from,
      target: targetOf(origin),
      draining: false,
      release: undefined,
      node: undefined,
      zone: undefined,
      scale: undefined,
      listed: new Map(),
      answers: undefined,
      fault: undefined,
      timer: undefined,
      asking: undefined,
    };
    await this.#add(seat);
  }

  /** Takes in a worker that no agent speaks for. */
  addPlain(
    origin: string,
    from: Member['from'],
    { slots, release }: { readonly slots: number; readonly release?: string | undefined },
    givenId?: string,
  ): void {
    void this.#add({
      kind: 'plain',
      givenId,
      from,
      target: targetOf(origin),
      draining: false,
      release,
      slots,
    });
  }

  /** Takes a node out; what it is drawing is still finished. */
  remove(origin: string): void {
    const seat = this.#seats.get(origin);
    if (!seat) return;
    this.#seats.delete(origin);
    const member = memberOf(seat);
    if (seat.kind === 'agent') clearTimeout(seat.timer);
    for (const id of member.upstreams) this.#forget(id);
    this.#options.onNode?.(member, 'removed');
  }

  /** Drains a plain upstream, or puts it back to work. Agents keep the drain of their nodes themselves. */
  drainPlain(origin: string, draining: boolean): void {
    const seat = this.#seats.get(origin);
    if (seat?.kind !== 'plain' || seat.draining === draining) return;
    seat.draining = draining;
    this.#putPlain(seat);
    this.#options.onNode?.(memberOf(seat), 'changed');
  }

  /** Asks agents at once, all or one. Resolves when they have answered, or have not in time. */
  async refresh(origin?: string): Promise<void> {
    const seats = [...this.#seats.values()].filter(
      (seat) => seat.kind === 'agent' && (origin === undefined || seat.target.origin === origin),
    );
    await Promise.all(
      seats.map(async (seat) => {
        if (seat.kind !== 'agent') return;
        // One that is on its way may have been answered before what we want to hear.
        await seat.asking;
        await this.#poll(seat);
      }),
    );
  }

  /** All nodes, in the order in which they came. */
  members(): Member[] {
    return [...this.#seats.values()].map(memberOf);
  }

  async #add(seat: AgentSeat | PlainSeat): Promise<void> {
    if (this.#seats.has(seat.target.origin)) return;
    this.#seats.set(seat.target.origin, seat);
    if (!this.#started) return;
    await this.#begin(seat);
    this.#options.onNode?.(memberOf(seat), 'added');
  }

  async #begin(seat: AgentSeat | PlainSeat): Promise<void> {
    if (seat.kind === 'plain') this.#putPlain(seat);
    else await this.#poll(seat);
  }

  #putPlain({ target, slots, draining, release }: PlainSeat): void {
    this.#options.consumer.put({
      id: target.origin,
      target,
      node: undefined,
      slots,
      nodeDraining: draining,
      release,
    });
  }

  #isGone(seat: AgentSeat): boolean {
    return this.#closed || this.#seats.get(seat.target.origin) !== seat;
  }

  /** Asks an agent, and again after the interval. */
  #poll(seat: AgentSeat): Promise<void> {
    clearTimeout(seat.timer);
    seat.asking ??= this.#hear(seat).finally(() => {
      seat.asking = undefined;
      if (this.#isGone(seat)) return;
      clearTimeout(seat.timer);
      seat.timer = setTimeout(() => void this.#poll(seat), this.#options.intervalMs);
    });
    return seat.asking;
  }

  async #hear(seat: AgentSeat): Promise<void> {
    const { ask, name, nodeKey, timeoutMs, load } = this.#options;
    const headers = {
      [HEADERS.balancer]: name,
      ...(load && { [HEADERS.load]: formatLoad(load()) }),
      ...nodeKeyHeader(nodeKey),
    };
    const asked = await ask(seat.target, INTERNAL_PATHS.node, headers, timeoutMs);
    if (this.#isGone(seat)) return;
    const roster =
      asked.kind === 'answer' && asked.status === 200 ? openRosterSchema.safeParse(asked.body) : undefined;
    if (roster?.success) {
      const before = memberOf(seat);
      seat.node = roster.data.node;
      seat.draining = roster.data.draining;
      seat.release = roster.data.release;
      seat.zone = roster.data.zone;
      seat.scale = nodeScaleSchema.safeParse(roster.data.scale).data;
      await this.#take(seat, roster.data);
      if (before.draining !== seat.draining || before.node !== seat.node || seat.answers !== true)
        this.#options.onNode?.(memberOf(seat), 'changed');
      this.#noteAnswer(seat, true, '');
      return;
    }
    const why = roster ? `its roster is none: ${issueOf(roster.error)}` : whyNot(asked);
    if (roster) this.#options.onFault?.('bad_roster');
    else if (asked.kind === 'answer') this.#options.onFault?.('refused');
    const was = seat.answers;
    seat.fault = `the agent does not answer: ${why}`;
    this.#noteAnswer(seat, false, why);
    if (was !== false) this.#options.onNode?.(memberOf(seat), 'changed');
  }

  async #take(seat: AgentSeat, roster: z.infer<typeof openRosterSchema>): Promise<void> {
    const { consumer } = this.#options;
    const present = new Set<string>();
    const faults: string[] = [];
    for (const row of roster.workers) {
      const judged = await this.#judge(seat, row, present);
      if (this.#isGone(seat)) return;
      if (judged.kind === 'fault') {
        faults.push(judged.sentence);
        this.#options.onFault?.(judged.fault);
        continue;
      }
      const { worker, id } = judged;
      present.add(id);
      seat.listed.set(id, 0);
      consumer.put({
        id,
        target: targetOf(worker.url),
        node: roster.node,
        slots: worker.slots,
        nodeDraining: roster.draining,
        zone: roster.zone,
        release: roster.release,
        preemptible: roster.preemptible,
        msPerMegapixel: worker.ms_per_megapixel,
      });
      if (worker.state === 'draining') consumer.leaving(id);
    }
    this.#noteFault(seat, faults[0]);
    // Who is missing from a list that holds rubbish may be the rubbish.
    if (faults.length === 0) this.#missed(seat, present);
  }

  #missed(seat: AgentSeat, present: ReadonlySet<string>): void {
    const { consumer } = this.#options;
    for (const [id, missed] of [...seat.listed]) {
      if (present.has(id)) continue;
      if (missed + 1 < MISSED_ROSTERS && !consumer.expectedToGo(id)) {
        seat.listed.set(id, missed + 1);
      } else {
        seat.listed.delete(id);
        this.#forget(id);
      }
    }
  }

  #forget(id: string): void {
    this.#speakers.delete(id);
    this.#options.consumer.removed(id);
  }

  /** Whether one row of a roster can be what it says. */
  async #judge(seat: AgentSeat, row: unknown, present: ReadonlySet<string>): Promise<Judged> {
    const parsed = rosterWorkerSchema.safeParse(row);
    const fault = (reason: RosterFault, sentence: string): Judged => ({
      kind: 'fault',
      fault: reason,
      sentence,
    });
    if (!parsed.success)
      return fault('bad_worker', `it lists a worker that cannot be: ${issueOf(parsed.error)}`);
    const worker = parsed.data;
    const { protocol, hostname, port, origin } = new URL(worker.url);
    if (protocol !== 'http:' && protocol !== 'https:')
      return fault(
        'bad_worker',
        `it lists a worker at ${worker.url.slice(0, 100)}, which is no HTTP address`,
      );
    const id = idOf(worker);
    if (present.has(id)) return fault('bad_worker', `it lists ${id} twice`);
    const { target } = seat;
    const bare = hostname.replace(/^\[(.*)\]$/, '$1');
    if (!(await this.#sameHost(target.hostname, bare)))
      return fault(
        'foreign_worker',
        `it lists a worker at ${origin}, which is not on its own machine ${target.hostname}; worker.host there has to be that machine's address`,
      );
    if (bare === target.hostname && Number(port) === target.port)
      return fault('foreign_worker', `it lists its own port ${target.port} as a worker`);
    const speaker = this.#speakers.get(id);
    if (speaker && speaker !== seat && this.#seats.get(speaker.target.origin) === speaker)
      return fault('taken_worker', `it lists ${id}, for which ${speaker.target.origin} speaks already`);
    // In one step with the question, or two agents that are heard at once would both have it.
    this.#speakers.set(id, seat);
    return { kind: 'worker', worker, id };
  }

  /** One line when what is wrong with an agent's list changes. */
  #noteFault(seat: AgentSeat, fault: string | undefined): void {
    if (fault !== undefined && fault !== seat.fault)
      this.#options.log.warn(
        { agent: seat.target.origin, node: seat.node, why: fault.slice(0, 500) },
        'an agent says what cannot be; that part is left out',
      );
    seat.fault = fault;
  }

  /** One line when an agent begins or stops to answer. */
  #noteAnswer(seat: AgentSeat, answers: boolean, why: string): void {
    if (seat.answers === answers) return;
    seat.answers = answers;
    const fields = { agent: seat.target.origin };
    if (answers) this.#options.log.info(fields, 'agent answers');
    else
      this.#options.log.warn(
        { ...fields, why: why.slice(0, 500) },
        'agent does not answer; its last roster stands',
      );
  }
}

type Judged =
  | { readonly kind: 'worker'; readonly worker: RosterWorker; readonly id: string }
  | { readonly kind: 'fault'; readonly fault: RosterFault; readonly sentence: string };

function memberOf(seat: AgentSeat | PlainSeat): Member {
  const { givenId, from, target, draining, release } = seat;
  const node = seat.kind === 'agent' ? seat.node : undefined;
  return {
    id: givenId ?? node ?? hostPortOf(target),
    kind: seat.kind,
    target,
    from,
    node,
    release,
    zone: seat.kind === 'agent' ? seat.zone : undefined,
    scale: seat.kind === 'agent' ? seat.scale : undefined,
    draining,
    fault: seat.kind === 'agent' ? seat.fault : undefined,
    upstreams: seat.kind === 'agent' ? [...seat.listed.keys()] : [target.origin],
  };
}

/** HOST:PORT, with brackets around an IPv6 address. */
export function hostPortOf({ hostname, port }: Target): string {
  return `${hostname.includes(':') ? `[${hostname}]` : hostname}:${port}`;
}

function issueOf({ issues }: z.ZodError): string {
  const [issue] = issues;
  return `${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'not understood'}`.slice(0, 300);
}

/** One process on one port: a port is used again by the next worker, a pair of port and process is not. */
function idOf({ url, pid }: RosterWorker): string {
  return `${new URL(url).origin}#${pid}`;
}
