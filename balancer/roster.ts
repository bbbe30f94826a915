// Keeps the list of upstreams: asks every agent for its node's workers, and adds the plain upstreams of the settings.
// An agent that does not answer, or answers rubbish, changes nothing: the checks of its workers go on without it.

import {
  HEADERS,
  INTERNAL_PATHS,
  type NodeRoster,
  nodeRosterSchema,
  type RosterWorker,
} from '../config/contract.ts';
import type { Log } from '../ops/process/log.ts';
import { type Ask, targetOf } from './ask.ts';
import type { Target } from './forward.ts';
import type { UpstreamFacts } from './pool.ts';

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

export interface RosterOptions {
  readonly ask: Ask;
  readonly agents: readonly { readonly agent: string }[];
  readonly upstreams: readonly { readonly url: string; readonly slots: number }[];
  readonly intervalMs: number;
  readonly timeoutMs: number;
  /** This balancer's own name: an agent tells its workers when every balancer has seen them. */
  readonly name: string;
  readonly nodeKey: string | undefined;
  readonly consumer: RosterConsumer;
  readonly log: Log;
}

interface Agent {
  readonly target: Target;
  /** The ids it listed last, with how many rosters in a row have missed them. */
  readonly listed: Map<string, number>;
  answers: boolean | undefined;
}

/**
 * A worker that vanishes without a goodbye is kept for so many rosters: an agent that was just started does not know
 * its workers before their next heartbeat. Whether it lives is for the checks to say meanwhile.
 */
const MISSED_ROSTERS = 5;

export class Roster {
  readonly #options: RosterOptions;
  readonly #agents: readonly Agent[];
  readonly #timers = new Set<NodeJS.Timeout>();
  #closed = false;

  constructor(options: RosterOptions) {
    this.#options = options;
    this.#agents = options.agents.map(({ agent }) => ({
      target: targetOf(agent),
      listed: new Map(),
      answers: undefined,
    }));
  }

  /** Adds the plain upstreams and begins to ask the agents. Resolves when each was asked once. */
  async start(): Promise<void> {
    for (const { url, slots } of this.#options.upstreams)
      this.#options.consumer.put({
        id: url,
        target: targetOf(url),
        node: undefined,
        slots,
        nodeDraining: false,
      });
    await Promise.all(this.#agents.map((agent) => this.#poll(agent)));
  }

  close(): void {
    this.#closed = true;
    for (const timer of this.#timers) clearTimeout(timer);
  }

  async #poll(agent: Agent): Promise<void> {
    const { ask, name, nodeKey, timeoutMs, intervalMs } = this.#options;
    const headers = {
      [HEADERS.balancer]: name,
      ...(nodeKey === undefined ? {} : { [HEADERS.nodeKey]: nodeKey }),
    };
    const asked = await ask(agent.target, INTERNAL_PATHS.node, headers, timeoutMs);
    if (this.#closed) return;
    const roster =
      asked.kind === 'answer' && asked.status === 200 ? nodeRosterSchema.safeParse(asked.body) : undefined;
    this.#noteAnswer(
      agent,
      roster?.success === true,
      roster?.error?.message ??
        (asked.kind === 'answer'
          ? `status ${asked.status}`
          : asked.kind === 'failed'
            ? asked.why
            : asked.kind),
    );
    if (roster?.success) this.#take(agent, roster.data);
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      void this.#poll(agent);
    }, intervalMs);
    this.#timers.add(timer);
  }

  #take(agent: Agent, roster: NodeRoster): void {
    const { consumer } = this.#options;
    const present = new Set<string>();
    for (const worker of roster.workers) {
      const id = idOf(worker);
      present.add(id);
      agent.listed.set(id, 0);
      consumer.put({
        id,
        target: targetOf(worker.url),
        node: roster.node,
        slots: worker.slots,
        nodeDraining: roster.draining,
        zone: roster.zone,
        preemptible: roster.preemptible,
        msPerMegapixel: worker.ms_per_megapixel,
      });
      if (worker.state === 'draining') consumer.leaving(id);
    }
    for (const [id, missed] of [...agent.listed]) {
      if (present.has(id)) continue;
      if (missed + 1 < MISSED_ROSTERS && !consumer.expectedToGo(id)) {
        agent.listed.set(id, missed + 1);
      } else {
        agent.listed.delete(id);
        consumer.removed(id);
      }
    }
  }

  /** One line when an agent begins or stops to answer. */
  #noteAnswer(agent: Agent, answers: boolean, why: string): void {
    if (agent.answers === answers) return;
    agent.answers = answers;
    const fields = { agent: agent.target.origin };
    if (answers) this.#options.log.info(fields, 'agent answers');
    else
      this.#options.log.warn(
        { ...fields, why: why.slice(0, 500) },
        'agent does not answer; its last roster stands',
      );
  }
}

/** One process on one port: a port is used again by the next worker, a pair of port and process is not. */
function idOf({ url, pid }: RosterWorker): string {
  return `${new URL(url).origin}#${pid}`;
}
