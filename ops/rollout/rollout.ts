// A rollout or a rollback from its first look to its last word: takes the nodes' locks, asks what they have, lets plan.ts
// decide, has Ansible do it node by node, and tells how it went. Decides nothing itself.

import { randomUUID } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { hostname, tmpdir, userInfo } from 'node:os';
import { dirname, join } from 'node:path';
import type { z } from 'zod';
import { trafficReplySchema } from '../../config/admin.ts';
import type { LoadedSettings } from '../../config/load.ts';
import { formatDuration } from '../../config/units.ts';
import { fleetCommand } from '../fleet.ts';
import { identify, isAlive } from '../pm2.ts';
import { PACKAGE_ROOT } from '../process/package.ts';
import type { Release } from '../release/release.ts';
import { unitNameOf } from '../supervisor/unit.ts';
import type { Terminal } from '../terminal.ts';
import { Ansible, findAnsible, type Host, type Play, type Played, wordsOf } from './ansible.ts';
import { type FleetNode, fleetNodes } from './fleet-nodes.ts';
import {
  canaryEnd,
  holderText,
  judgeCanary,
  judgeLock,
  type Lock,
  type NodeFound,
  next,
  nodeReleasesSchema,
  type Outcome,
  type Plan,
  planRollback,
  planRollout,
  steps,
  type Turn,
} from './plan.ts';

/** What is shipped. */
export interface Shipment {
  readonly tarball: string;
  readonly sha256: string;
  /** The tarball and what is in it together. */
  readonly neededBytes: number;
  readonly release: Release;
}

/** What was asked for. */
export type Wish = {
  /** Only these nodes, by name; all when it is empty. */
  readonly only: readonly string[];
  /** Say what would be done. */
  readonly dryRun: boolean;
} & (
  | {
      readonly kind: 'rollout';
      readonly shipment: Shipment;
      readonly allowOlder: boolean;
      /** Percent of the traffic for the first node that has the release, before the others get it; undefined for all at once. */
      readonly canary: number | undefined;
    }
  | { readonly kind: 'rollback'; readonly to: string | undefined }
  /** Folders, user, settings and key on fresh VMs; their zone. */
  | { readonly kind: 'prepare'; readonly zone: string }
);

/** It cannot go on; the message says why and what to do. */
export class RolloutFault extends Error {}

/** The oldest Node that toonfleet runs on; as package.json says. */
const NEEDED_NODE = '20.19.0';
const STEPS = new Set<string>(steps);

/** Does what was asked; the answer is the exit code: 0 when every node has it, 1 otherwise. */
export async function rollout(wish: Wish, settings: LoadedSettings, terminal: Terminal): Promise<number> {
  const program = findAnsible(process.env.PATH, [settings.rollout.root]);
  if (program === undefined)
    throw new RolloutFault(
      `Ansible is not here. Install it with: ${join(PACKAGE_ROOT, 'ops/rollout/install-tools.sh')} ${settings.rollout.root}/.tools`,
    );
  const logs = join(settings.data_dir, 'rollouts');
  mkdirSync(logs, { recursive: true });
  const log = join(logs, `${new Date().toISOString().replace(/[:.]/g, '-')}-${wish.kind}.log`);
  const folder = mkdtempSync(join(tmpdir(), 'toonfleet-'));
  const ansible = new Ansible(program, folder, log, sshWords(settings.rollout));
  try {
    return await new Run(wish, settings, terminal, ansible, log).go();
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function sshWords({ key, known_hosts }: LoadedSettings['rollout']): string[] {
  return [
    '-o StrictHostKeyChecking=accept-new',
    ...(key === '' ? [] : [`-o IdentitiesOnly=yes -i ${key}`]),
    ...(known_hosts === '' ? [] : [`-o UserKnownHostsFile=${known_hosts}`]),
  ];
}

class Run {
  readonly #wish: Wish;
  readonly #settings: LoadedSettings;
  readonly #terminal: Terminal;
  readonly #ansible: Ansible;
  readonly #log: string;
  readonly #key = randomUUID();
  /** Locks of rollouts that have died, by node: what they remember of it. */
  readonly #dead = new Map<string, Lock>();
  /** What the nodes said when they were locked. */
  readonly #states = new Map<string, z.infer<typeof nodeReleasesSchema>>();
  #stopAsked = false;

  constructor(wish: Wish, settings: LoadedSettings, terminal: Terminal, ansible: Ansible, log: string) {
    this.#wish = wish;
    this.#settings = settings;
    this.#terminal = terminal;
    this.#ansible = ansible;
    this.#log = log;
  }

  async go(): Promise<number> {
    const nodes = this.#chosen(await fleetNodes(this.#settings));
    if (this.#wish.kind === 'prepare') return this.#prepare(nodes, this.#wish.zone);
    if (this.#wish.dryRun) {
      this.#keep(await this.#verb(nodes, () => ['state']));
      return this.#show(this.#plan(this.#found(nodes)));
    }
    const unlisten = this.#listen();
    const locked: FleetNode[] = [];
    try {
      await this.#lockAll(nodes, locked);
      return await this.#carryOut(this.#plan(this.#found(nodes)), nodes);
    } finally {
      unlisten();
      if (locked.length > 0)
        await this.#verb(locked, () => ['unlock', this.#key]).catch(() =>
          this.#terminal.complain('The locks could not all be given back; the next rollout takes them over.'),
        );
    }
  }

  async #prepare(nodes: readonly FleetNode[], zone: string): Promise<number> {
    const { say, complain } = this.#terminal;
    const { node, rollout } = this.#settings;
    const hosts = nodes.map((each) => {
      const { hostname: address, port } = new URL(each.agent);
      return this.#host(each, { address, agent_port: Number(port || 80), zone });
    });
    const played = await this.#ansible.play({
      playbook: 'prepare',
      hosts,
      vars: {
        ...this.#vars(),
        needed_node: NEEDED_NODE,
        key_file: node.key === undefined ? '' : join(dirname(rollout.config), 'node.key'),
        node_key: node.key ?? '',
      },
    });
    const faults = nodes.flatMap(({ name }) => {
      const outcome = outcomeOf(name, played, 0);
      if (outcome.kind === 'done') return [];
      // Ansible's own exit code is one for all nodes; this one has nothing to complain about.
      if (
        outcome.kind === 'unreachable' &&
        !played.unreachable.has(name) &&
        played.results.size + played.unreachable.size > 0
      )
        return [];
      return [`${name}: ${outcome.kind === 'failed' ? `${outcome.step}: ` : ''}${outcome.sentence}`];
    });
    for (const { name } of nodes)
      if (!faults.some((fault) => fault.startsWith(`${name}: `))) say(`${name} is ready for a release`);
    if (faults.length > 0) complain([...faults, `All that Ansible said: ${this.#log}`].join('\n'));
    return faults.length > 0 ? 1 : 0;
  }

  #chosen(nodes: readonly FleetNode[]): readonly FleetNode[] {
    const { only } = this.#wish;
    const unknown = only.filter((name) => !nodes.some((node) => node.name === name));
    if (unknown.length > 0)
      throw new RolloutFault(
        `There is no node ${unknown.join(', ')}; there are: ${nodes.map(({ name }) => name).join(', ')}.`,
      );
    if (nodes.length === 0)
      throw new RolloutFault(
        'The settings name no nodes with an agent. Example: nodes: [{agent: http://10.0.0.11:8001}]',
      );
    return only.length === 0 ? nodes : nodes.filter(({ name }) => only.includes(name));
  }

  /** One verb of releases.sh on some nodes; all have to answer. */
  async #verb(
    nodes: readonly FleetNode[],
    argvOf: (node: FleetNode) => string[],
  ): Promise<Map<string, string>> {
    const hosts = nodes.map((node) => this.#host(node, { verb_argv: argvOf(node) }));
    const played = await this.#ansible.play({ playbook: 'verb', hosts, vars: this.#vars() });
    const answers = new Map<string, string>();
    const faults: string[] = [];
    for (const { name } of nodes) {
      const lost = played.unreachable.get(name);
      const answer = played.results.get(name) as { rc: number; stdout: string; stderr: string } | undefined;
      if (lost !== undefined) faults.push(`${name} could not be reached: ${lost}`);
      else if (answer === undefined) faults.push(`${name} did not answer:\n${played.tail}`);
      else if (answer.rc !== 0) faults.push(`${name}: ${answer.stderr.trim()}`);
      else answers.set(name, answer.stdout);
    }
    if (faults.length > 0)
      throw new RolloutFault(
        [
          ...faults,
          'No release was changed. See that ssh gets there as the settings under rollout say, then try again; --only NODE,NODE leaves a node out.',
        ].join('\n'),
      );
    return answers;
  }

  /**
   * Takes the lock on every node. The first one by name is asked alone: of two rollouts that begin at once, one has it,
   * and the other touches nothing.
   */
  async #lockAll(nodes: readonly FleetNode[], locked: FleetNode[]): Promise<void> {
    const [first, ...others] = nodes;
    for (const group of [first === undefined ? [] : [first], others]) {
      if (group.length === 0) continue;
      // Before the asking: what a fault leaves behind has to be given back too, and unlocking what is not ours does nothing.
      locked.push(...group);
      const found = await this.#askLocks(group, () => undefined);
      const dead = group.filter(({ name }) => found.has(name));
      for (const { name } of dead) {
        const lock = found.get(name);
        if (!lock) continue;
        this.#terminal.say(`${name}: taking over from a rollout that has died (${holderText(lock)})`);
        this.#dead.set(name, lock);
      }
      if (dead.length === 0) continue;
      const still = await this.#askLocks(dead, ({ name }) => this.#dead.get(name)?.key);
      const [lost] = still.keys();
      if (lost !== undefined)
        throw new RolloutFault(`${lost}: another rollout took it over in this moment. Nothing was changed.`);
    }
  }

  /** Asks for locks; the answer holds those of dead owners. Living ones end the whole. */
  async #askLocks(
    nodes: readonly FleetNode[],
    expected: (node: FleetNode) => string | undefined,
  ): Promise<Map<string, Lock>> {
    const answers = await this.#verb(nodes, (node) => {
      const replaced = expected(node);
      return [
        'lock',
        this.#key,
        JSON.stringify(this.#lockOf(node)),
        ...(replaced === undefined ? [] : [replaced]),
      ];
    });
    this.#keep(answers);
    const dead = new Map<string, Lock>();
    for (const name of answers.keys()) {
      const lock = this.#states.get(name)?.lock;
      if (!lock || lock.key === this.#key) continue;
      const alive = lock.host === hostname() ? isAlive({ pid: lock.pid, since: lock.since }) : undefined;
      const verdict = judgeLock(lock, alive, new Date(), this.#settings.rollout.lock_age);
      if (verdict !== 'dead')
        throw new RolloutFault(
          `${name} is being changed by ${holderText(lock)}. Nothing was changed by this command; wait for the end of that one.`,
        );
      dead.set(name, lock);
    }
    return dead;
  }

  #lockOf({ name, draining }: FleetNode): Lock {
    const { pid, since } = identify(process.pid);
    return {
      key: this.#key,
      host: hostname(),
      pid,
      ...(since === undefined ? {} : { since }),
      user: userInfo().username,
      doing: this.#wish.kind === 'rollout' ? `rollout of ${this.#wish.shipment.release.id}` : 'rollback',
      started_at: new Date().toISOString(),
      // A rollout that died may have drained it itself; what was before, its lock knows.
      drained_before: this.#dead.get(name)?.drained_before ?? draining,
    };
  }

  #keep(answers: ReadonlyMap<string, string>): void {
    for (const [name, text] of answers) {
      const parsed = nodeReleasesSchema.safeParse(parsedJson(text));
      if (!parsed.success)
        throw new RolloutFault(
          `${name}: its releases or its lock cannot be read (${parsed.error.issues[0]?.path.join('.')}): look at ${this.#settings.rollout.root}/releases/*/RELEASE and rollout.lock there.`,
        );
      this.#states.set(name, parsed.data);
    }
  }

  #found(nodes: readonly FleetNode[]): NodeFound[] {
    return nodes.flatMap(({ name, zone, serving, draining }) => {
      const state = this.#states.get(name);
      return state ? [{ ...state, name, zone, serving, draining, lock: this.#dead.get(name) ?? null }] : [];
    });
  }

  #plan(found: readonly NodeFound[]): Plan {
    const wish = this.#wish;
    switch (wish.kind) {
      case 'rollout':
        return planRollout(wish.shipment.release, found, wish);
      case 'rollback':
        return planRollback(found, wish.to);
      case 'prepare':
        return { kind: 'nothing', sentence: 'To prepare a node changes no release.' };
    }
  }

  #show(plan: Plan): number {
    if (plan.kind === 'refused') {
      this.#terminal.complain(plan.sentence);
      return 1;
    }
    if (plan.kind === 'nothing') this.#terminal.say(plan.sentence);
    else this.#terminal.say([...plan.turns.map(turnText), 'Nothing was changed (--dry-run).'].join('\n'));
    return 0;
  }

  async #carryOut(plan: Plan, nodes: readonly FleetNode[]): Promise<number> {
    const { say, complain } = this.#terminal;
    if (plan.kind !== 'turns') return this.#show(plan);
    if (plan.left.length > 0) say(`left alone, since nothing is to be done there: ${plan.left.join(', ')}`);
    const outcomes: Outcome[] = [];
    const canary = await this.#beginCanary(plan.turns);
    for (;;) {
      const step = next(plan.turns, outcomes, this.#stopAsked);
      switch (step.kind) {
        case 'finished':
          say(
            `${outcomes.length} ${outcomes.length === 1 ? 'node has' : 'nodes have'} changed; took ${outcomes.map(secondsOf).join(', ')} s`,
          );
          return 0;
        case 'stopped':
          if (canary) await this.#undivide();
          complain([...step.sentences, `All that Ansible said: ${this.#log}`].join('\n'));
          return 1;
        case 'turn': {
          const node = nodes.find(({ name }) => name === step.turn.node);
          if (!node) throw new Error(`the plan has a node ${step.turn.node} that was not asked for`);
          say(turnText(step.turn));
          let outcome = await this.#turn(step.turn, node, nodes);
          if (canary && outcomes.length === 0 && outcome.kind === 'done')
            outcome = await this.#endCanary(step.turn, node, nodes, outcome);
          outcomes.push(outcome);
        }
      }
    }
  }

  async #turn(
    turn: Turn,
    node: FleetNode,
    nodes: readonly FleetNode[],
    kind = this.#wish.kind,
  ): Promise<Outcome> {
    const { say } = this.#terminal;
    const { rollout } = this.#settings;
    const wish = this.#wish;
    const host = this.#host(node, {
      agent: node.agent,
      workers: Math.max(1, node.workers),
      // Who goes back wants what was there, also when it is slower.
      others:
        kind === 'rollout'
          ? nodes.flatMap(({ agent }) => (agent === node.agent ? [] : [agent])).join(',')
          : '',
      to_id: turn.to,
      from_id: turn.from,
      previous_id: turn.previous,
      keep_drained: turn.keepDrained,
    });
    const began = performance.now();
    let task: { name: string; since: number } | undefined;
    const tell = (name?: string) => {
      if (task)
        say(`  ${task.name.padEnd(10)}${((performance.now() - task.since) / 1000).toFixed(1).padStart(6)} s`);
      task = name === undefined ? undefined : { name, since: performance.now() };
    };
    const shipped =
      kind === 'rollout' && wish.kind === 'rollout'
        ? {
            release_id: wish.shipment.release.id,
            tarball: wish.shipment.tarball,
            sha256: wish.shipment.sha256,
            needed_bytes: wish.shipment.neededBytes,
            keep: rollout.keep,
          }
        : {};
    const play: Play = {
      playbook: kind === 'rollout' ? 'deploy' : 'rollback',
      hosts: [host],
      vars: { ...this.#vars(), ...shipped },
    };
    const played = await this.#ansible.play(play, (name) => {
      if (STEPS.has(name) ? name !== task?.name : name === 'what failed')
        tell(STEPS.has(name) ? name : 'put back');
    });
    tell();
    return outcomeOf(turn.node, played, (performance.now() - began) / 1000);
  }

  /** With a share asked for, the new release has it before its first node comes up. */
  async #beginCanary(turns: readonly Turn[]): Promise<boolean> {
    const wish = this.#wish;
    if (wish.kind !== 'rollout') return false;
    const { weights } = trafficReplySchema.parse(
      JSON.parse((await this.#traffic(['--json'])) ?? '{"weights":null,"rollback":null,"rolled_back":null}'),
    );
    if (weights !== null)
      throw new RolloutFault(
        'Traffic is divided among releases, so a new one would get nothing. Look with: toonfleet traffic; end that first with: toonfleet traffic --undivided',
      );
    if (wish.canary === undefined) return false;
    const from = turns.find((turn) => turn.from !== '')?.from;
    if (from === undefined)
      throw new RolloutFault('--canary needs a release that serves beside the new one.');
    const done = await this.#traffic([
      `${from}=${100 - wish.canary}`,
      `${wish.shipment.release.id}=${wish.canary}`,
      '--rollback',
    ]);
    if (done === undefined)
      throw new RolloutFault('--canary needs a balancer that takes orders from here (its admin token).');
    this.#terminal.say(`${wish.shipment.release.id} begins with ${wish.canary} % of the traffic`);
    return true;
  }

  /** After the canary's bake: a balancer that took its share away has judged it, and its node goes back. */
  async #endCanary(
    turn: Turn,
    node: FleetNode,
    nodes: readonly FleetNode[],
    outcome: Outcome,
  ): Promise<Outcome> {
    const told = await this.#traffic(['--json']);
    const reply = told === undefined ? undefined : trafficReplySchema.parse(JSON.parse(told));
    const { kind, sentence } = judgeCanary(reply, turn.to);
    await this.#undivide();
    switch (kind) {
      case 'good':
        this.#terminal.say(`${sentence}; the other nodes follow`);
        return outcome;
      // A night without clients is no reason to hold a release back, and none to call it proven.
      case 'unjudged':
        this.#terminal.complain(
          `WARNING: ${sentence}. The other nodes follow all the same. More would show with a larger share (--canary), more time (rollout.bake), or in a busier hour.`,
        );
        return outcome;
      case 'bad':
        return this.#canaryBack(turn, node, nodes, sentence);
    }
  }

  /** The canary's node goes back to the release before. */
  async #canaryBack(
    turn: Turn,
    node: FleetNode,
    nodes: readonly FleetNode[],
    fault: string,
  ): Promise<Outcome> {
    // A way back that fails finds the release before still as the previous one.
    const back = { ...turn, to: turn.from, from: turn.to, previous: turn.from };
    const returned = await this.#turn(back, node, nodes, 'rollback');
    // To the links it looks as if the bad release had been the one before; a later rollback would go there.
    if (returned.kind === 'done')
      await this.#verb([node], () => [
        'back',
        turn.from,
        ...(turn.previous === '' ? [] : [turn.previous]),
      ]).catch((error: Error) => this.#terminal.complain(error.message));
    return canaryEnd(fault, returned);
  }

  /** The canary's share ends, or an operator is told that it has not. */
  async #undivide(): Promise<void> {
    if ((await this.#traffic(['--undivided'])) === undefined)
      this.#terminal.complain(
        'The balancer does not answer, so its traffic may still be divided. End that with: toonfleet traffic --undivided',
      );
  }

  /** `toonfleet traffic`; undefined when there is no balancer to be told. */
  async #traffic(args: readonly string[]): Promise<string | undefined> {
    if (this.#settings.balancer.admin_token === undefined) return undefined;
    let said = '';
    const take = (text: string) => {
      said += text;
    };
    const code = await fleetCommand('traffic', args, () => this.#settings, { say: take, complain: () => {} });
    return code === 0 ? said : undefined;
  }

  #host({ name, address, port, user }: FleetNode, vars: Host['vars']): Host {
    return { name, address, port, user, vars };
  }

  #vars(): Record<string, unknown> {
    const { rollout, source } = this.#settings;
    const { root, config, supervisor, node_program, user, drain_within, ready_within, bake } = rollout;
    return {
      root,
      config,
      supervisor,
      node_program,
      unit: unitNameOf('node'),
      // PM2 alone needs no rights of the system; its processes are the user's own.
      use_become: supervisor === 'systemd' && user !== 'root',
      toonfleet: [
        process.execPath,
        join(PACKAGE_ROOT, 'ops/toonfleet.mjs'),
        ...(source === undefined ? [] : ['--config', source]),
      ],
      drain_within: formatDuration(drain_within),
      ready_within: formatDuration(ready_within),
      bake: formatDuration(bake),
    };
  }

  /** Ctrl-C, or a terminal that goes away, once: the node's turn is finished first. Twice: it is left as it is, and the next rollout takes it over. */
  #listen(): () => void {
    const heard = () => {
      if (this.#stopAsked) {
        this.#terminal.complain(
          'Left in the middle: the node may be drained. Give the same command again to bring it to an end.',
        );
        this.#ansible.abort();
        process.exit(130);
      }
      this.#stopAsked = true;
      this.#terminal.complain('Stopping after this node; once more to leave it as it is.');
    };
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, heard);
    // Nobody reads any more; the node's turn is finished all the same.
    const deaf = () => {
      this.#stopAsked = true;
    };
    for (const stream of [process.stdout, process.stderr]) stream.on('error', deaf);
    return () => {
      for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.off(signal, heard);
      for (const stream of [process.stdout, process.stderr]) stream.off('error', deaf);
    };
  }
}

function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const turnText = ({ node, from, to, keepDrained }: Turn) =>
  `${node}: ${from === '' ? 'nothing' : from} → ${to}${keepDrained ? ' (stays drained)' : ''}`;

const secondsOf = (outcome: Outcome) => (outcome.kind === 'done' ? outcome.seconds.toFixed(0) : '-');

function outcomeOf(node: string, { code, results, unreachable, tail }: Played, seconds: number): Outcome {
  const lost = unreachable.get(node);
  if (lost !== undefined) return { kind: 'unreachable', node, sentence: lost };
  const told = results.get(node) as
    | { step: string; left: 'untouched' | 'back' | 'out'; result: unknown }
    | undefined;
  if (told) return { kind: 'failed', node, step: told.step, sentence: wordsOf(told.result), left: told.left };
  if (code === 0) return { kind: 'done', node, seconds };
  return { kind: 'unreachable', node, sentence: `Ansible ended with ${code}:\n${tail}` };
}
