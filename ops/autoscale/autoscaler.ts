// Wakes and parks VMs, one at a time: looks at the fleet through a balancer, lets decide.ts judge, drains, runs the operator's
// program, waits, and remembers every step before it is taken, so that a restart in the middle goes on or takes it back.
//
//   park: drain ──► program ──► asleep              (a drain that is refused or late, a program that fails: undrain, pause)
//   wake: program ──► its agent answers ──► undrain ──► it draws   (later than ready_within: told, pause, another one)

import { ADMIN_PATHS, type AdminStatus, drainReplySchema, statusSchema } from '../../config/admin.ts';
import type { LoadedSettings } from '../../config/load.ts';
import { formatDuration } from '../../config/units.ts';
import type { Signal } from '../agent/scale.ts';
import { autoscaleFileSchema } from '../process/autoscale-file.ts';
import { readDurable, writeDurable } from '../process/durable-file.ts';
import type { HookEnd } from '../process/hook.ts';
import type { Log } from '../process/log.ts';
import { type Demand, decide, type Memory, type Move, NOTHING_YET, type Rules, type Vm } from './decide.ts';

export interface AutoscalerParts {
  readonly settings: LoadedSettings['autoscale'];
  /** balancer.min_available. */
  readonly minAvailable: number;
  /** Where it is remembered. */
  readonly path: string;
  /** Says what would be done, and does nothing. */
  readonly dryRun: boolean;
  /** The balancer's admin API. @throws {Error} with its sentence. */
  readonly call: (method: string, path: string) => Promise<unknown>;
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

  /** @throws {Error} when what is remembered is there and broken. */
  constructor(parts: AutoscalerParts) {
    this.#parts = parts;
    this.#memory = readDurable(parts.path, autoscaleFileSchema, 'what autoscale remembers') ?? NOTHING_YET;
  }

  get memory(): Memory {
    return this.#memory;
  }

  /**
   * Looks once, and makes at most one move to its end.
   * @throws {Error} when the balancer does not answer.
   */
  async look(): Promise<Look> {
    const { call, dryRun, now } = this.#parts;
    const status = statusSchema.parse(await call('GET', ADMIN_PATHS.status));
    const vms = vmsOf(status, this.#memory);
    this.#forgetTheAwake(vms);
    const going = dryRun ? undefined : await this.#goOn(vms);
    if (going !== undefined) return this.#say({ ...counts(vms), move: 'wait', words: going });

    const decision = decide(vms, demandOf(status, this.#parts.settings), this.#memory, this.#rules(), now());
    this.#remember({ history: decision.history });
    const { move, current, desired } = decision;
    const look = { current, desired, move: move.kind, words: move.words };
    if (move.kind === 'hold') return this.#say(look);
    const { settings } = this.#parts;
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
    if (left !== undefined) {
      await this.#undrain(vm.url);
      return this.#failed(vm, `is not parked: ${left}`);
    }
    const end = await this.#runHook('park', vm, reason);
    if (end.kind !== 'done') {
      await this.#undrain(vm.url);
      return this.#failed(vm, `could not be parked: ${end.why}`);
    }
    this.#asleep(vm);
    return undefined;
  }

  /** Goes on with a move that was begun; words while it is not over. */
  async #goOn(vms: readonly Vm[]): Promise<string | undefined> {
    const { settings, now, log } = this.#parts;
    const { moving } = this.#memory;
    if (!moving) return undefined;
    const vm = vms.find(({ url }) => url === moving.url);
    const passed = now() - moving.since;
    if (moving.what === 'park') {
      // Only after a restart in the middle: nobody knows how far the program came, but the VM does.
      if (vm?.answers) await this.#undrain(moving.url);
      if (vm?.answers ?? true)
        this.#failed(moving, 'was not parked to its end: this program ended meanwhile');
      else this.#asleep({ ...moving, zone: vm?.zone ?? '' });
      return undefined;
    }
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

  /** Somebody else has woken it: it is no sleeper of ours any more. */
  #forgetTheAwake(vms: readonly Vm[]): void {
    const { parked, moving } = this.#memory;
    const still = parked.filter(
      ({ url }) => moving?.url === url || !vms.some((vm) => vm.url === url && vm.available),
    );
    if (still.length < parked.length) this.#remember({ parked: still });
  }

  #asleep({ url, id, zone }: Pick<Vm, 'url' | 'id' | 'zone'>): void {
    const { log, now, settings } = this.#parts;
    log.info({ node: id }, 'a VM is parked');
    this.#remember({
      moving: null,
      parked: [...this.#memory.parked.filter((each) => each.url !== url), { url, id, zone }],
      failed: without(this.#memory.failed, url),
      restUntil: now() + settings.cool_down,
    });
  }

  #failed({ url, id }: Pick<Vm, 'url' | 'id'>, why: string): string {
    const { log, now, settings } = this.#parts;
    log.warn(
      { node: id, why: why.slice(0, 1000), again_in_ms: settings.cool_down },
      'a VM could not be moved',
    );
    this.#remember({
      moving: null,
      failed: { ...this.#memory.failed, [url]: now() },
      restUntil: now() + settings.cool_down,
    });
    return `${id} ${why}`;
  }

  /** Undefined when nothing runs there any more; else why it may not leave, or has not in time. */
  async #drain(url: string, waitMs: number): Promise<string | undefined> {
    try {
      const path = `${ADMIN_PATHS.nodes}/${encodeURIComponent(new URL(url).host)}/drain?wait=${waitMs}ms`;
      const { drained, in_flight: left } = drainReplySchema.parse(await this.#parts.call('POST', path));
      return drained ? undefined : `${left} pictures are still drawn after ${formatDuration(waitMs)}`;
    } catch (error) {
      return (error as Error).message;
    }
  }

  async #undrain(url: string): Promise<void> {
    try {
      const path = `${ADMIN_PATHS.nodes}/${encodeURIComponent(new URL(url).host)}/undrain`;
      await this.#parts.call('POST', path);
    } catch (error) {
      this.#parts.log.warn({ node: url, why: (error as Error).message }, 'a VM stays drained');
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

function demandOf({ queue, load, spare }: AdminStatus, settings: LoadedSettings['autoscale']): Demand {
  const queued = queue.interactive + queue.batch;
  const whole = (name: string, target: number, value: number, say: (value: number) => string): Signal[] =>
    target === 0 ? [] : [{ kind: 'whole', name, target, value, say }];
  const time = (ms: number) => formatDuration(Math.round(ms));
  const percent = (share: number) => `${Math.round(share * 100)} %`;
  const taken = spare.slots === 0 ? 0 : load.busy / spare.slots;
  return {
    busy: load.busy,
    queued,
    signals: [
      ...whole('slots', settings.slots / 100, taken, percent),
      ...whole('queue length', settings.queue_length, queued, String),
      ...whole('mean response', settings.mean_response, load.mean_ms, time),
      ...whole('queue wait', settings.queue_wait, load.wait_ms, time),
      ...whole('p95', settings.p95, load.p95_ms, time),
    ],
  };
}
