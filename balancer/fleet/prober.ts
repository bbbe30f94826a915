// Asks each worker in time whether it is ready, and reports. Knows nothing of the pool: what a report means is decided
// in `upstream.ts`. Around a change it asks more often, so that one is sure sooner.

import { z } from 'zod';
import { PATHS, readySchema } from '../../config/contract.ts';
import { nodeKeyHeader } from '../../ops/process/node-key.ts';
import type { Target } from '../passage/forward.ts';
import type { Ask } from './ask.ts';

/** What a check found. `node` is what the worker calls its node, where it says so. */
export type Report =
  | { readonly kind: 'passed'; readonly node: string | undefined }
  | { readonly kind: 'failed'; readonly why: string }
  | { readonly kind: 'refused' }
  | { readonly kind: 'loading' }
  | { readonly kind: 'leaving' };

export interface ProberOptions {
  readonly ask: Ask;
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly nodeKey: string | undefined;
  readonly report: (id: string, report: Report) => void;
  /** In [0, 1); spreads the first checks. */
  readonly random: () => number;
}

interface Watch {
  readonly target: Target;
  timer: NodeJS.Timeout | undefined;
  checking: boolean;
  /** How many checks in a row found the same. */
  same: number;
  last: Report['kind'] | undefined;
}

/** After so many equal reports in a row the usual interval is enough. */
const SETTLED = 4;
/** Until then, the part of the interval between two checks. */
const HURRY = 0.2;

const readyBody = readySchema.extend({ node: z.string().max(100).optional() });

export class Prober {
  readonly #options: ProberOptions;
  readonly #watched = new Map<string, Watch>();

  constructor(options: ProberOptions) {
    this.#options = options;
  }

  /** Begins to check an upstream, at once. */
  watch(id: string, target: Target): void {
    if (this.#watched.has(id)) return;
    const watch: Watch = { target, timer: undefined, checking: false, same: 0, last: undefined };
    this.#watched.set(id, watch);
    this.#after(id, watch, 0);
  }

  unwatch(id: string): void {
    clearTimeout(this.#watched.get(id)?.timer);
    this.#watched.delete(id);
  }

  /** Whether it was checked at least once. */
  checked(id: string): boolean {
    return this.#watched.get(id)?.last !== undefined;
  }

  /** Something happened to this upstream: the next check comes now. */
  hurry(id: string): void {
    const watch = this.#watched.get(id);
    if (!watch) return;
    watch.same = 0;
    if (!watch.checking) this.#after(id, watch, 0);
  }

  close(): void {
    for (const id of [...this.#watched.keys()]) this.unwatch(id);
  }

  #after(id: string, watch: Watch, ms: number): void {
    clearTimeout(watch.timer);
    watch.timer = setTimeout(() => void this.#check(id, watch), ms);
  }

  async #check(id: string, watch: Watch): Promise<void> {
    const { ask, timeoutMs, intervalMs, nodeKey, random } = this.#options;
    watch.checking = true;
    const headers = nodeKeyHeader(nodeKey);
    const asked = await ask(watch.target, PATHS.ready, headers, timeoutMs);
    watch.checking = false;
    if (this.#watched.get(id) !== watch) return;
    const report = reportOf(asked);
    watch.same = report.kind === watch.last ? watch.same + 1 : 1;
    watch.last = report.kind;
    const pause = watch.same >= SETTLED ? intervalMs : intervalMs * HURRY;
    // A little spread keeps the checks of many workers, and of several balancers, from falling into step.
    this.#after(id, watch, pause * (0.9 + 0.2 * random()));
    this.#options.report(id, report);
  }
}

/** What an answer to `GET /ready` says. 200 alone is not enough: it has to be a worker that says so. */
function reportOf(asked: Awaited<ReturnType<Ask>>): Report {
  switch (asked.kind) {
    case 'refused':
      return { kind: 'refused' };
    case 'failed':
      return asked;
    case 'answer': {
      const body = readyBody.safeParse(asked.body);
      const said = body.success ? body.data.status : undefined;
      if (asked.status === 200 && said === 'ready') return { kind: 'passed', node: body.data?.node };
      if (asked.status === 503 && said === 'draining') return { kind: 'leaving' };
      if (asked.status === 503 && said === 'loading') return { kind: 'loading' };
      return { kind: 'failed', why: `GET /ready answered ${asked.status}` };
    }
  }
}
