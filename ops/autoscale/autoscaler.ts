// Wakes and parks VMs, one at a time: asks the balancers how the fleet stands, lets decide.ts judge, drains, runs the operator's
// program, waits, and remembers every step before it is taken, so that a restart in the middle goes on or takes it back.
//
//   park: drain ──► program ──► asleep              (a drain that is refused or late, a program that fails: undrain, pause)
//                           └─► failed, but it goes off all the same: asleep
//   wake: program ──► its agent answers ──► undrain ──► it draws   (later than ready_within: told, pause, another one)

import { ADMIN_PATHS, type AdminStatus, drainReplySchema, statusSchema } from '../../config/admin.ts';
import type { LoadedSettings } from '../../config/load.ts';
import { formatDuration } from '../../config/units.ts';
import type { Signal } from '../agent/scale.ts';
import { autoscaleFileSchema } from '../process/autoscale-file.ts';
import { readDurable, writeDurable } from '../process/durable-file.ts';
import type { HookEnd } from '../process/hook.ts';
import type { Log } from '../process/log.ts';
import {
  type Demand,
  decide,
  isOff,
  type Memory,
  type Move,
  NOTHING_YET,
  type Rules,
  type Sleeper,
  stillAsleep,
  type Vm,
} from './decide.ts';

/** One balancer's admin API. @throws {Error} with its sentence, also when no answer comes in time. */
export type AdminCall = (method: string, path: string) => Promise<unknown>;

export interface AutoscalerParts {
  readonly settings: LoadedSettings['autoscale'];
  /** balancer.min_available. */
  readonly minAvailable: number;
  /** Where it is remembered. */
  readonly path: string;
  /** Says what would be done, and does nothing. */
  readonly dryRun: boolean;
  /** The admin API of each balancer, at least one. */
  readonly balancers: readonly [AdminCall, ...AdminCall[]];
  /** Runs a program of the operator. */
  readonly run: (command: readonly string[], variables: Record<string, string>) => Promise<HookEnd>;
  readonly log: Log;
  /** Ms since 1970. */
  readonly now: () => number;
}

/** What one look came to, for people and programs. */
export interface Look {
  readonly current: number;
  readonly desired: number;
  readonly move: Move['kind'] | 'wait';
  readonly words: string;
  /** Why the move did not come to its end; left out while it has, or goes on. */
  readonly failed?: string;
}

export class Autoscaler {
  readonly #parts: AutoscalerParts;
  #memory: Memory;
  #told = '';
  /** Who takes the orders: the first balancer that answered. */
  #call: AdminCall;

  /** @throws {Error} when what is remembered is there and broken. */
  constructor(parts: AutoscalerParts) {
    this.#parts = parts;
    this.#call = parts.balancers[0];
    this.#memory = readDurable(parts.path, autoscaleFileSchema, 'what autoscale remembers') ?? NOTHING_YET;
  }

  get memory(): Memory {
    return this.#memory;
  }

  /**
   * Looks once, and makes at most one move to its end.
   * @throws {Error} when no balancer answers.
   */
  async look(): Promise<Look> {
    const { dryRun, now, settings } = this.#parts;
    const told = await this.#ask();
    const vms = vmsOf(told.first, this.#memory);
    this.#tellAwakeFromAsleep(vms);
    const going = dryRun ? undefined : await this.#goOn(vms);
    if (going !== undefined) return this.#say({ ...counts(vms), move: 'wait', words: going });

    const decision = decide(vms, demandOf(told, settings), this.#memory, this.#rules(), now());
    this.#remember({ history: decision.history });
    const { move, current, desired } = decision;
    const look = { current, desired, move: move.kind, words: move.words };
    if (move.kind === 'hold') return this.#say(look);
    if (settings[move.kind].length === 0)
      return this.#say({
        ...look,
        move: 'hold',
        words: `${move.words}; autoscale.${move.kind} names no program`,
      });
    if (dryRun) return this.#say({ ...look, words: `would ${move.kind} ${move.vm.id}: ${move.words}` });
    this.#say({ ...look, words: `${move.kind} ${move.vm.id}: ${move.words}` });
    this.#remember({
      moving: { what: move.kind, url: move.vm.url, id: move.vm.id, since: now() },
    });
    const failed = await (move.kind === 'wake'
      ? this.#wake(move.vm, move.words)
      : this.#park(move.vm, move.words));
    return failed === undefined ? look : { ...look, failed };
  }

  /** Each balancer knows its own line and its own pictures alone, so all are asked. */
  async #ask(): Promise<Told> {
    const { balancers } = this.#parts;
    const asked = await Promise.allSettled(
      balancers.map(async (call) => ({
        call,
        status: statusSchema.parse(await call('GET', ADMIN_PATHS.status)),
      })),
    );
    const answers = asked.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    const faults = asked.flatMap((one) => (one.status === 'rejected' ? [one.reason as unknown] : []));
    const [first] = answers;
    if (!first) throw faults[0];
    this.#call = first.call;
    return { first: first.status, all: answers.map(({ status }) => status), silent: faults.length };
  }

  #rules(): Rules {
    const { settings, minAvailable } = this.#parts;
    return {
      min: Math.max(settings.min, minAvailable),
      names: settings.nodes,
      spare: settings.spare,
      tolerance: settings.tolerance / 100,
      upAfterMs: settings.up_after,
      downAfterMs: settings.down_after,
    };
  }

  /** Whoever could be woken is waited for, look by look. */
  async #wake(vm: Pick<Vm, 'url' | 'id' | 'zone'>, reason: string): Promise<string | undefined> {
    const end = await this.#runHook('wake', vm, reason);
    return end.kind === 'done' ? undefined : this.#failed(vm, `could not be woken: ${end.why}`);
  }

  async #park(vm: Pick<Vm, 'url' | 'id' | 'zone'>, reason: string): Promise<string | undefined> {
    const { settings } = this.#parts;
    const left = await this.#drain(vm.url, settings.drain_within);
    if (left !== undefined) return this.#backToWork(vm, `is not parked: ${left}`);
    const end = await this.#runHook('park', vm, reason);
    if (end.kind !== 'done')
      return this.#backToWork(vm, `could not be parked: ${end.why}`, this.#inDoubt(vm));
    this.#asleep(vm);
    return undefined;
  }

  /**
   * Takes a park back. A VM that cannot be told is still on the move: the next look finds it asleep after all, or tells it then;
   * forgotten, it would stay drained, or off, for good.
   */
  async #backToWork(vm: Pick<Vm, 'url' | 'id'>, why: string, parked?: readonly Sleeper[]): Promise<string> {
    if (await this.#undrain(vm.url)) return this.#failed(vm, why, parked);
    this.#remember({ moving: { what: 'park', url: vm.url, id: vm.id, since: this.#parts.now() } });
    return `${vm.id} ${why}; it stays drained until it can be told otherwise`;
  }

  /** A program that was killed, or said no too early, may have begun what takes the VM down in a minute. */
  #inDoubt(vm: Pick<Vm, 'url' | 'id' | 'zone'>): readonly Sleeper[] {
    return this.#withSleeper({ ...vm, doubtfulUntil: this.#parts.now() + this.#parts.settings.ready_within });
  }

  /** Goes on with a move that was begun; words while it is not over. */
  async #goOn(vms: readonly Vm[]): Promise<string | undefined> {
    const { settings, now, log } = this.#parts;
    const { moving } = this.#memory;
    if (!moving) return undefined;
    const vm = vms.find(({ url }) => url === moving.url);
    const passed = now() - moving.since;
    if (moving.what === 'park') return this.#takeBack(moving, vm);
    if (vm?.available) {
      log.info({ node: moving.id, took_ms: passed }, 'a VM was woken, and draws');
      this.#remember({
        moving: null,
        parked: this.#memory.parked.filter(({ url }) => url !== moving.url),
        failed: without(this.#memory.failed, moving.url),
        restUntil: now() + settings.cool_down,
      });
      return undefined;
    }
    // Its agent keeps the drain with which it was parked.
    if (vm?.answers && vm.draining) await this.#undrain(moving.url);
    if (passed <= settings.ready_within)
      return `${moving.id} was woken ${Math.round(passed / 1000)} s ago and does not draw yet`;
    this.#failed(moving, `was woken, and does not draw after ${formatDuration(settings.ready_within)}`);
    return undefined;
  }

  /** A park that a restart cut off, or that could not be taken back at once: how far the program came, the VM knows. */
  async #takeBack(moving: NonNullable<Memory['moving']>, vm: Vm | undefined): Promise<string | undefined> {
    const { settings, now } = this.#parts;
    const { url, id } = moving;
    if (!vm) this.#failed(moving, 'was not parked to its end, and is no node any more');
    else if (isOff(vm)) this.#asleep({ url, id, zone: vm.zone });
    else if (await this.#undrain(url))
      this.#failed(moving, 'was not parked to its end', this.#inDoubt({ url, id, zone: vm.zone }));
    else if (now() - moving.since <= settings.ready_within)
      return `${id} was not parked, and cannot be told to work on yet`;
    // Waiting on, nobody would be woken either. As a sleeper it is told when it is needed.
    else
      this.#failed(
        moving,
        `was not parked, and could not be told to work on for ${formatDuration(settings.ready_within)}`,
        this.#withSleeper({ url, id, zone: vm.zone }),
      );
    return undefined;
  }

  #tellAwakeFromAsleep(vms: readonly Vm[]): void {
    const { parked } = this.#memory;
    const still = stillAsleep(this.#memory, vms, this.#parts.now());
    if (still.length < parked.length || still.some((one, index) => one !== parked[index]))
      this.#remember({ parked: still });
  }

  #withSleeper({ url, id, zone, doubtfulUntil }: Sleeper): readonly Sleeper[] {
    const others = this.#memory.parked.filter((each) => each.url !== url);
    return [...others, { url, id, zone, ...(doubtfulUntil !== undefined && { doubtfulUntil }) }];
  }

  #asleep({ url, id, zone }: Pick<Vm, 'url' | 'id' | 'zone'>): void {
    const { log, now, settings } = this.#parts;
    log.info({ node: id }, 'a VM is parked');
    this.#remember({
      moving: null,
      parked: this.#withSleeper({ url, id, zone }),
      failed: without(this.#memory.failed, url),
      restUntil: now() + settings.cool_down,
    });
  }

  #failed({ url, id }: Pick<Vm, 'url' | 'id'>, why: string, parked = this.#memory.parked): string {
    const { log, now, settings } = this.#parts;
    log.warn(
      { node: id, why: why.slice(0, 1000), again_in_ms: settings.cool_down },
      'a VM could not be moved',
    );
    this.#remember({
      moving: null,
      parked,
      failed: { ...this.#memory.failed, [url]: now() },
      restUntil: now() + settings.cool_down,
    });
    return `${id} ${why}`;
  }

  /** Undefined when nothing runs there any more; else why it may not leave, or has not in time. */
  async #drain(url: string, waitMs: number): Promise<string | undefined> {
    try {
      const path = `${ADMIN_PATHS.nodes}/${encodeURIComponent(new URL(url).host)}/drain?wait=${waitMs}ms`;
      const { drained, in_flight: left } = drainReplySchema.parse(await this.#call('POST', path));
      return drained ? undefined : `${left} pictures are still drawn after ${formatDuration(waitMs)}`;
    } catch (error) {
      // Its answer alone may have been lost, so this too is taken back.
      return (error as Error).message;
    }
  }

  /** Whether it works again. */
  async #undrain(url: string): Promise<boolean> {
    try {
      const path = `${ADMIN_PATHS.nodes}/${encodeURIComponent(new URL(url).host)}/undrain`;
      await this.#call('POST', path);
      return true;
    } catch (error) {
      this.#parts.log.warn({ node: url, why: (error as Error).message }, 'a VM stays drained');
      return false;
    }
  }

  #runHook(what: 'wake' | 'park', { url, id, zone }: Pick<Vm, 'url' | 'id' | 'zone'>, reason: string) {
    const { settings, run, log } = this.#parts;
    const command = settings[what];
    log.info({ node: id, command, reason }, `running the program that is to ${what} a VM`);
    // Not TOONFLEET_*: those are settings, and a program that calls toonfleet would hand them on.
    return run(command, {
      SCALE_ACTION: what,
      SCALE_NODE: id,
      SCALE_AGENT: url,
      SCALE_HOST: new URL(url).hostname,
      SCALE_ZONE: zone,
      SCALE_REASON: reason,
    });
  }

  #remember(news: Partial<Memory>): void {
    this.#memory = { ...this.#memory, ...news };
    if (!this.#parts.dryRun) writeDurable(this.#parts.path, this.#memory);
  }

  /** A line when something else is to be said than before. */
  #say(look: Look): Look {
    const { current, desired, move, words } = look;
    const told = `${move} ${current} ${desired}`;
    if (told !== this.#told)
      this.#parts.log.info({ current, desired, move, reason: words }, 'looked at the fleet');
    this.#told = told;
    return look;
  }
}

const counts = (vms: readonly Vm[]) => {
  const current = vms.filter(({ available }) => available).length;
  return { current, desired: current + 1 };
};

function without(record: Readonly<Record<string, number>>, key: string): Record<string, number> {
  return Object.fromEntries(Object.entries(record).filter(([other]) => other !== key));
}

/** The nodes with agents; what a VM that is off was called is remembered. */
function vmsOf({ nodes }: AdminStatus, { parked }: Memory): Vm[] {
  return nodes
    .filter(({ kind }) => kind === 'agent')
    .map(({ url, id, zone, available, draining, fault, slots_in_service: slots }) => {
      const own = parked.find((each) => each.url === url);
      const answers = !fault?.startsWith('the agent does not answer');
      return { url, id: own?.id ?? id, zone: zone ?? own?.zone ?? id, available, draining, answers, slots };
    });
}

/** What the balancers say. */
interface Told {
  /** Of the one that takes the orders; the nodes are the same for all. */
  readonly first: AdminStatus;
  readonly all: readonly AdminStatus[];
  /** How many do not answer. */
  readonly silent: number;
}

/** Lines and taken slots add up, and the slowest balancer's times count. */
function demandOf({ first, all, silent }: Told, settings: LoadedSettings['autoscale']): Demand {
  const sum = (of: (status: AdminStatus) => number) => all.reduce((total, status) => total + of(status), 0);
  const worst = (of: keyof AdminStatus['load']) => Math.max(...all.map(({ load }) => load[of]));
  const queued = sum(({ queue }) => queue.interactive + queue.batch);
  const busy = sum(({ load }) => load.busy);
  const whole = (name: string, target: number, value: number, say: (value: number) => string): Signal[] =>
    target === 0 ? [] : [{ kind: 'whole', name, target, value, say }];
  const time = (ms: number) => formatDuration(Math.round(ms));
  const percent = (share: number) => `${Math.round(share * 100)} %`;
  const { slots } = first.spare;
  // Whose pictures nobody knows, no VM is taken from.
  const unknown: Signal = {
    kind: 'whole',
    name: 'another balancer',
    target: 1,
    value: undefined,
    say: String,
  };
  return {
    busy,
    queued,
    signals: [
      ...whole('slots', settings.slots / 100, slots === 0 ? 0 : busy / slots, percent),
      ...whole('queue length', settings.queue_length, queued, String),
      ...whole('mean response', settings.mean_response, worst('mean_ms'), time),
      ...whole('queue wait', settings.queue_wait, worst('wait_ms'), time),
      ...whole('p95', settings.p95, worst('p95_ms'), time),
      ...(silent > 0 ? [unknown] : []),
    ],
  };
}
