// What the nodes say of themselves while they are loaded: CPU and memory from the agents, queue length from the
// balancer's admin port. A source that does not answer leaves its figures unmeasured; nothing is estimated instead.

import http from 'node:http';
import { HEADERS, INTERNAL_PATHS, nodeRosterSchema } from '../config/contract.ts';
import { parsePrometheus, type Sample } from './prometheus.ts';
import type { NodeReading } from './recorder.ts';

/** Where to ask. */
export interface NodeSources {
  /** Origins of the agents. */
  readonly agents: readonly string[];
  /** Origin of the balancer's admin port; undefined asks nobody. */
  readonly admin: string | undefined;
  /** The secret of the fleet, when it has one. */
  readonly nodeKey?: string | undefined;
}

const UNKNOWN: NodeReading = { cpu: null, workerMemoryMb: null, queueLength: null };
const PERIOD_MS = 1000;
const PATIENCE_MS = 2000;

/** Asks the nodes once a second, beside the load. */
export class NodeWatch {
  readonly #sources: NodeSources;
  readonly #cpuBefore = new Map<string, CpuSeconds>();
  readonly #silent = new Set<string>();
  #timer: NodeJS.Timeout | undefined;
  #asking = false;
  #reading: NodeReading = UNKNOWN;
  /** Every reading since the last {@link takeReadings}. */
  #readings: NodeReading[] = [];

  constructor(sources: NodeSources) {
    this.#sources = sources;
  }

  /** The newest reading. */
  get reading(): NodeReading {
    return this.#reading;
  }

  /** Sources that did not answer the last time they were asked. */
  get silent(): readonly string[] {
    return [...this.#silent];
  }

  /** Asks once, then every second until {@link stop}. */
  async start(): Promise<void> {
    await this.#ask();
    this.#timer = setInterval(() => void this.#ask(), PERIOD_MS);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** The readings since the last call: CPU is their mean, memory and queue their maximum. */
  takeReadings(): NodeReading {
    const taken = this.#readings;
    this.#readings = [];
    return {
      cpu: mean(taken.map(({ cpu }) => cpu)),
      workerMemoryMb: largest(taken.map(({ workerMemoryMb }) => workerMemoryMb)),
      queueLength: largest(taken.map(({ queueLength }) => queueLength)),
    };
  }

  /** Nodes and slots by the agents' rosters; null unless every agent answers. */
  async fleet(): Promise<{ nodes: number; slots: number } | null> {
    if (this.#sources.agents.length === 0) return null;
    let slots = 0;
    for (const agent of this.#sources.agents) {
      const text = await this.#text(`${agent}${INTERNAL_PATHS.node}`, 'application/json');
      const roster = nodeRosterSchema.safeParse(text === undefined ? undefined : parseJson(text));
      if (!roster.success) return null;
      slots += roster.data.workers
        .filter(({ state }) => state === 'ready')
        .reduce((sum, worker) => sum + worker.slots, 0);
    }
    return { nodes: this.#sources.agents.length, slots };
  }

  async #ask(): Promise<void> {
    if (this.#asking) return;
    this.#asking = true;
    try {
      const { agents, admin } = this.#sources;
      const [queue, ...nodes] = await Promise.all([
        admin === undefined ? undefined : this.#samples(admin),
        ...agents.map((agent) => this.#samples(agent)),
      ]);
      const said = nodes.flatMap((samples, index) =>
        samples ? [{ agent: agents[index] ?? '', samples }] : [],
      );
      this.#reading = {
        cpu: largest(said.map(({ agent, samples }) => this.#cpuOf(agent, samples))),
        workerMemoryMb: largest(said.map(({ samples }) => workerMemoryMb(samples))),
        queueLength: queue ? queueLength(queue) : null,
      };
      this.#readings.push(this.#reading);
    } finally {
      this.#asking = false;
    }
  }

  #cpuOf(agent: string, samples: readonly Sample[]): number | null {
    const now = cpuSeconds(samples);
    const before = this.#cpuBefore.get(agent);
    if (now) this.#cpuBefore.set(agent, now);
    return now && before ? cpuShare(before, now) : null;
  }

  async #samples(origin: string): Promise<Sample[] | undefined> {
    const text = await this.#text(`${origin}${INTERNAL_PATHS.metrics}`, 'text/plain');
    if (text === undefined) this.#silent.add(origin);
    else this.#silent.delete(origin);
    return text === undefined ? undefined : parsePrometheus(text);
  }

  #text(url: string, accept: string): Promise<string | undefined> {
    const { nodeKey } = this.#sources;
    return new Promise((resolve) => {
      const headers = { accept, ...(nodeKey === undefined ? {} : { [HEADERS.nodeKey]: nodeKey }) };
      const request = http.get(url, { headers, timeout: PATIENCE_MS }, (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (piece: string) => {
          text += piece;
        });
        response.on('error', () => resolve(undefined));
        response.on('end', () => resolve(response.statusCode === 200 ? text : undefined));
      });
      request.on('timeout', () => request.destroy());
      request.on('error', () => resolve(undefined));
    });
  }
}

/** CPU time of a node since its start, s. */
export interface CpuSeconds {
  readonly busy: number;
  readonly total: number;
}

/** The node's CPU time from its agent's series; undefined when it exports none. */
export function cpuSeconds(samples: readonly Sample[]): CpuSeconds | undefined {
  const modes = samples.filter(({ name }) => name === 'toonfleet_node_cpu_seconds_total');
  if (modes.length === 0) return undefined;
  const total = modes.reduce((sum, { value }) => sum + value, 0);
  const idle = modes
    .filter(({ labels }) => labels.mode === 'idle')
    .reduce((sum, { value }) => sum + value, 0);
  return { busy: total - idle, total };
}

/** The share of all cores that was busy between two moments, 0-1; null when no time went by. */
export function cpuShare(before: CpuSeconds, now: CpuSeconds): number | null {
  const total = now.total - before.total;
  return total <= 0 ? null : Math.min(1, Math.max(0, (now.busy - before.busy) / total));
}

/** The largest worker of a node, MB; the agent's own memory has no worker's label and does not count. */
export function workerMemoryMb(samples: readonly Sample[]): number | null {
  const workers = samples.filter(
    ({ name, labels }) => name === 'process_resident_memory_bytes' && labels.worker !== undefined,
  );
  return largest(workers.map(({ value }) => Math.round(value / 1e5) / 10));
}

/** All classes of the balancer's queue together. */
export function queueLength(samples: readonly Sample[]): number | null {
  const classes = samples.filter(({ name }) => name === 'toonfleet_queue_length');
  return classes.length === 0 ? null : classes.reduce((sum, { value }) => sum + value, 0);
}

const measured = (values: readonly (number | null)[]) => values.filter((value) => value !== null);

function largest(values: readonly (number | null)[]): number | null {
  const known = measured(values);
  return known.length === 0 ? null : Math.max(...known);
}

function mean(values: readonly (number | null)[]): number | null {
  const known = measured(values);
  return known.length === 0 ? null : known.reduce((sum, value) => sum + value, 0) / known.length;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
