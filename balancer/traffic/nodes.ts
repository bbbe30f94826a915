// What operators do to nodes at run time: drain, undrain, add, remove. One after the other, so that two wishes that are
// each allowed cannot together leave too few nodes. A drain is told to the node's agent, which keeps it and shows it to
// every balancer; what no agent keeps stands in the state file.

import type { DrainReply, NodeSpec, NodeStatus } from '../../config/admin.ts';
import { INTERNAL_PATHS, type NodeDrain, nodeDrainSchema } from '../../config/contract.ts';
import { ToonError } from '../../config/errors.ts';
import { nodeKeyHeader } from '../../ops/process/node-key.ts';
import { type Ask, whyNot } from '../fleet/ask.ts';
import type { Pool } from '../fleet/pool.ts';
import { hostPortOf, type Member, type Roster } from '../fleet/roster.ts';
import { mayLeave } from './availability.ts';
import type { State, StateFile } from './state.ts';

export interface NodesParts {
  readonly roster: Roster;
  readonly pool: Pool;
  readonly state: StateFile;
  readonly ask: Ask;
  readonly nodeKey: string | undefined;
  /** How long an agent may take to answer. */
  readonly timeoutMs: number;
  readonly minAvailable: number;
  readonly now: () => number;
  readonly sleep: (ms: number) => Promise<void>;
}

/** How often a drain looks whether the node is idle. */
const LOOK_MS = 100;
/** A picture whose slot is free may still be encoded for another balancer; one look more, and it is answered. */
const QUIET_LOOKS = 3;

export class Nodes {
  readonly #parts: NodesParts;
  /** The end of the wish before. */
  #turn: Promise<unknown> = Promise.resolve();
  #closing = false;

  constructor(parts: NodesParts) {
    this.#parts = parts;
  }

  /** Ends all waiting: drains stand, their callers hear how far they have come. */
  close(): void {
    this.#closing = true;
  }

  /**
   * Drains a node and waits until nothing runs there and every balancer knows, at most so many ms.
   * @throws {ToonError} `not_found`, `conflict` (too few would stay), or `upstream_failed` (its agent does not answer).
   */
  async drain(id: string, waitMs: number): Promise<DrainReply> {
    const until = this.#parts.now() + waitMs;
    const origin = await this.#inTurn(async () => {
      // Another balancer may have drained a node since the agents were last asked.
      await this.#parts.roster.refresh();
      const member = this.#find(id);
      this.#refuseTooFew(member, 'Draining');
      if (member.draining) return member.target.origin;
      const counted = this.#available(member);
      await this.#turnDrain(member, true);
      await this.#parts.roster.refresh();
      if (counted && this.#availableNodes() < this.#parts.minAvailable) {
        await this.#turnDrain(member, false);
        throw new ToonError('conflict', {
          detail: `Another node left in the same moment, so ${member.id} works on: balancer.min_available is ${this.#parts.minAvailable}.`,
        });
      }
      return member.target.origin;
    });
    return this.#untilIdle(origin, until);
  }

  /** @throws {ToonError} `not_found` or `upstream_failed`. */
  undrain(id: string): Promise<DrainReply> {
    return this.#inTurn(async () => {
      const member = this.#find(id);
      await this.#turnDrain(member, false);
      await this.#parts.roster.refresh(member.target.origin);
      return this.#progress(member.target.origin, undefined);
    });
  }

  /**
   * Adds a node. True when it is new, false when it was there already just so.
   * @throws {ToonError} `conflict` when the id or the address means another node.
   */
  put(id: string, spec: NodeSpec): Promise<boolean> {
    return this.#inTurn(async () => {
      const { roster, state } = this.#parts;
      const origin = originOf(spec);
      const sameId = roster.members().find((member) => isCalled(member, id));
      const sameOrigin = roster.members().find(({ target }) => target.origin === origin);
      if (sameId && sameId.target.origin !== origin)
        throw new ToonError('conflict', {
          detail: `${id} is the node at ${sameId.target.origin}; remove it first, or choose another id.`,
        });
      if (sameOrigin && (sameOrigin.from === 'settings' || sameOrigin.id !== id)) {
        if (isCalled(sameOrigin, id)) return false;
        throw new ToonError('conflict', { detail: `${origin} is the node ${sameOrigin.id} already.` });
      }
      const known = state.state.nodes.find((node) => node.id === id);
      if (sameOrigin && known && JSON.stringify(known.spec) === JSON.stringify(spec)) return false;
      if (sameOrigin) roster.remove(origin);
      state.change((before) => ({
        ...before,
        nodes: [...before.nodes.filter((node) => node.id !== id), { id, spec }],
        removed: before.removed.filter((other) => other !== origin),
      }));
      await roster.refresh(origin);
      return sameOrigin === undefined;
    });
  }

  /**
   * Takes a node out. What it draws is finished.
   * @throws {ToonError} `not_found`, or `conflict` when too few would stay.
   */
  remove(id: string): Promise<{ node: string; removed: true; in_flight: number }> {
    return this.#inTurn(async () => {
      await this.#parts.roster.refresh();
      const member = this.#find(id);
      this.#refuseTooFew(member, 'Removing');
      const { origin } = member.target;
      const inFlight = this.#inFlight(member);
      this.#parts.state.change((before) => ({
        ...before,
        nodes: before.nodes.filter(({ spec }) => originOf(spec) !== origin),
        removed: member.from === 'settings' ? [...new Set([...before.removed, origin])] : before.removed,
        drained: before.drained.filter((other) => other !== origin),
      }));
      return { node: member.id, removed: true, in_flight: inFlight };
    });
  }

  /** Brings the roster to what is kept: nodes added and removed, plain upstreams drained. */
  obey({ nodes, removed, drained }: State, settings: readonly NodeSpec[]): void {
    const { roster } = this.#parts;
    const wanted = new Map<string, { spec: NodeSpec; from: Member['from']; id: string | undefined }>();
    for (const spec of settings)
      if (!removed.includes(originOf(spec)))
        wanted.set(originOf(spec), { spec, from: 'settings', id: undefined });
    for (const { id, spec } of nodes)
      if (!wanted.has(originOf(spec))) wanted.set(originOf(spec), { spec, from: 'admin', id });
    for (const { target } of roster.members()) if (!wanted.has(target.origin)) roster.remove(target.origin);
    const there = new Set(roster.members().map(({ target }) => target.origin));
    for (const [origin, { spec, from, id }] of wanted) {
      if (there.has(origin)) continue;
      if ('agent' in spec) void roster.addAgent(origin, from, id);
      else roster.addPlain(origin, from, spec, id);
    }
    for (const { kind, target } of roster.members())
      if (kind === 'plain') roster.drainPlain(target.origin, drained.includes(target.origin));
  }

  /** All nodes as `GET /admin/v1/status` tells them. */
  list(): NodeStatus[] {
    return this.#parts.roster.members().map((member) => ({
      id: member.id,
      kind: member.kind,
      url: member.target.origin,
      from: member.from,
      release: member.release ?? null,
      draining: member.draining,
      available: this.#available(member),
      slots: member.upstreams.reduce((sum, id) => sum + (this.#parts.pool.get(id)?.slots ?? 0), 0),
      slots_in_service: member.upstreams.reduce((sum, id) => sum + this.#slotsInService(id), 0),
      in_flight: this.#inFlight(member),
      zone: member.zone ?? null,
      scale: member.scale ?? null,
      fault: member.fault ?? null,
    }));
  }

  #inTurn<T>(wish: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(wish);
    this.#turn = turn.catch(() => {});
    return turn;
  }

  #find(id: string): Member {
    const members = this.#parts.roster.members();
    const found = members.filter((member) => isCalled(member, id));
    const [first] = found;
    if (first && found.length === 1) return first;
    if (first)
      throw new ToonError('conflict', {
        detail: `${found.length} nodes call themselves ${id}; say which one: ${found.map(({ target }) => hostPortOf(target)).join(', ')}.`,
      });
    throw new ToonError('not_found', {
      detail: `There is no node "${id.slice(0, 100)}"; there are: ${members.map((member) => member.id).join(', ') || 'none'}.`,
    });
  }

  #available({ upstreams }: Member): boolean {
    return upstreams.some((id) => this.#parts.pool.takesWork(id));
  }

  #slotsInService(id: string): number {
    const { pool } = this.#parts;
    return pool.takesWork(id) ? (pool.get(id)?.slots ?? 0) : 0;
  }

  #inFlight({ upstreams }: Member): number {
    return upstreams.reduce((sum, id) => sum + (this.#parts.pool.get(id)?.inFlight ?? 0), 0);
  }

  #refuseTooFew(member: Member, what: string): void {
    const nodes = this.#parts.roster
      .members()
      .map((each) => ({ id: each.target.origin, available: this.#available(each) }));
    const verdict = mayLeave(
      nodes,
      { id: member.target.origin, name: member.id },
      this.#parts.minAvailable,
      what,
    );
    if (verdict.kind === 'refused') throw new ToonError('conflict', { detail: verdict.sentence });
  }

  #availableNodes(): number {
    return this.#parts.roster.members().filter((member) => this.#available(member)).length;
  }

  async #turnDrain(member: Member, draining: boolean): Promise<void> {
    const { roster, state } = this.#parts;
    const { origin } = member.target;
    if (member.kind === 'plain') {
      state.change((before) => ({
        ...before,
        drained: draining
          ? [...new Set([...before.drained, origin])]
          : before.drained.filter((other) => other !== origin),
      }));
      roster.drainPlain(origin, draining);
      return;
    }
    const told = await this.#askDrain(member, draining ? 'PUT' : 'DELETE');
    if (told.kind === 'failed')
      throw new ToonError('upstream_failed', {
        detail: `The agent of ${member.id} at ${origin} did not take it (${told.why}), so nothing was changed. With its agent gone for good, remove the node instead.`,
      });
    await roster.refresh(origin);
  }

  /** Looks until nothing runs there any more, time is up, or this balancer leaves. */
  async #untilIdle(origin: string, until: number): Promise<DrainReply> {
    const { now, sleep } = this.#parts;
    let quiet = 0;
    while (true) {
      const member = this.#parts.roster.members().find(({ target }) => target.origin === origin);
      const told = member?.kind === 'agent' ? await this.#askDrain(member, 'GET') : undefined;
      const reply = this.#progress(origin, told?.kind === 'told' ? told.drain : undefined);
      quiet = reply.drained ? quiet + 1 : 0;
      if (quiet >= QUIET_LOOKS || !reply.draining) return reply;
      if (this.#closing || now() >= until) return { ...reply, drained: false };
      await sleep(Math.min(LOOK_MS, Math.max(1, until - now())));
    }
  }

  /** How far a drain has come, by what runs from here and by what the node says of itself. */
  #progress(origin: string, told: NodeDrain | undefined): DrainReply {
    const member = this.#parts.roster.members().find(({ target }) => target.origin === origin);
    if (!member) return { node: origin, draining: false, drained: false, in_flight: 0 };
    const inFlight = Math.max(this.#inFlight(member), told?.busy ?? 0);
    const draining = told?.draining ?? member.draining;
    const known = member.kind === 'plain' || told?.seen === true;
    return {
      node: member.id,
      draining,
      drained: draining && known && inFlight === 0,
      in_flight: inFlight,
    };
  }

  async #askDrain(
    { target }: Member,
    method: 'GET' | 'PUT' | 'DELETE',
  ): Promise<{ kind: 'told'; drain: NodeDrain } | { kind: 'failed'; why: string }> {
    const { ask, nodeKey, timeoutMs } = this.#parts;
    const headers = nodeKeyHeader(nodeKey);
    const asked = await ask(target, INTERNAL_PATHS.nodeDrain, headers, timeoutMs, method);
    const drain =
      asked.kind === 'answer' && asked.status === 200 ? nodeDrainSchema.safeParse(asked.body) : undefined;
    return drain?.success ? { kind: 'told', drain: drain.data } : { kind: 'failed', why: whyNot(asked) };
  }
}

function originOf(spec: NodeSpec): string {
  return 'agent' in spec ? spec.agent : spec.url;
}

/** Whether operators may mean this node by that name. */
function isCalled({ id, node, target }: Member, name: string): boolean {
  return name === id || name === node || name === hostPortOf(target);
}
