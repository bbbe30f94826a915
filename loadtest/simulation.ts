// A fleet that is larger than any machine at hand, in simulated time: the balancer's own queue and choice of upstream,
// fed with arrivals from a seed and service times as they were measured. Pure: no sockets, no clocks.
// What it leaves out (network, uploads, forwarding) is small beside drawing; its error against a real run is shown
// beside every result that rests on it.

import { type Candidate, NOWHERE, pick } from '../balancer/schedule/pick.ts';
import { Queue } from '../balancer/schedule/queue.ts';
import { schedule } from './arrivals.ts';
import { type Due, Heap } from './heap.ts';
import { Durations, type Percentiles } from './histogram.ts';
import { type Random, seededFor } from './random.ts';

/** A fleet of equal nodes. */
export interface SimulatedFleet {
  readonly nodes: number;
  /** One-slot workers of each node. */
  readonly slotsPerNode: number;
}

/** What is simulated. */
export interface Simulation {
  readonly fleet: SimulatedFleet;
  readonly qps: number;
  readonly pictures: number;
  /** Ms for which one picture keeps a slot. */
  readonly service: (random: Random) => number;
  /** What an answer takes besides queue and slot, ms. */
  readonly overheadMs: number;
  readonly queueLength: number;
  readonly deadlineMs: number;
  readonly seed: number;
}

/** What came of it. */
export interface Simulated {
  readonly latency: Percentiles | null;
  readonly shed: number;
  readonly sent: number;
  /** Busy slots, mean share. */
  readonly utilisation: number;
  /** P95 of the last quarter over that of the second; far above 1 the queue grows without end. */
  readonly drift: number;
}

interface Picture {
  readonly arrivedAt: number;
  readonly deadlineAt: number;
  readonly serviceMs: number;
  /** Service times are drawn as they were measured, whatever the picture: nothing is known of one beforehand. */
  readonly expectedMs: 0;
  readonly priority: 'interactive';
}

interface Worker extends Candidate {
  taken: number;
}

interface Finish extends Due {
  readonly worker: Worker;
  readonly picture: Picture;
}

/** Plays the pictures through the fleet. */
export function simulate(simulation: Simulation): Simulated {
  const { fleet, qps, pictures, seed } = simulation;
  const chance = seededFor(seed, 'simulated service');
  const ties = seededFor(seed, 'simulated ties');
  const arrivals = schedule(
    [{ rate: qps, seconds: pictures / qps }],
    'poisson',
    seededFor(seed, 'simulated arrivals'),
  );
  const free = new Map<string, Worker>();
  for (let node = 0; node < fleet.nodes; node++) {
    for (let slot = 0; slot < fleet.slotsPerNode; slot++) {
      const id = `${node}-${slot}`;
      free.set(id, { id, node: String(node), slots: 1, taken: 0, pace: 1, nearby: true, warmth: 1 });
    }
  }
  const queue = new Queue<Picture>({ bound: simulation.queueLength, order: 'fifo', overloadMs: 0 });
  const running = new Heap<Finish>();
  const latencies = new Float64Array(arrivals.length);
  const all = new Durations();
  let [answered, shed, busyMs, endMs] = [0, 0, 0, 0];

  const start = (worker: Worker, picture: Picture, nowMs: number) => {
    free.delete(worker.id);
    worker.taken = 1;
    busyMs += picture.serviceMs;
    running.put({ atMs: nowMs + picture.serviceMs, worker, picture });
  };
  const serve = (nowMs: number) => {
    while (free.size > 0 && queue.length > 0) {
      const { next, late } = queue.take(nowMs, () => true);
      shed += late.length;
      const worker = next && pick(free.values(), NOWHERE, ties);
      if (!next || !worker) return;
      start(worker, next, nowMs);
    }
  };
  const finish = ({ atMs, worker, picture }: Finish) => {
    const latencyMs = atMs - picture.arrivedAt + simulation.overheadMs;
    latencies[answered] = latencyMs;
    answered += 1;
    all.add(latencyMs);
    worker.taken = 0;
    free.set(worker.id, worker);
    endMs = atMs;
    serve(atMs);
  };

  for (const atMs of arrivals) {
    for (let next = running.take(); next; next = running.take()) {
      if (next.atMs > atMs) {
        running.put(next);
        break;
      }
      finish(next);
    }
    const picture: Picture = {
      arrivedAt: atMs,
      deadlineAt: atMs + simulation.deadlineMs,
      serviceMs: simulation.service(chance),
      expectedMs: 0,
      priority: 'interactive',
    };
    if (queue.join(picture)) serve(atMs);
    else shed += 1;
  }
  for (let next = running.take(); next; next = running.take()) finish(next);

  const slots = fleet.nodes * fleet.slotsPerNode;
  return {
    latency: all.percentiles(),
    shed,
    sent: arrivals.length,
    utilisation: endMs === 0 ? 0 : busyMs / (endMs * slots),
    drift: driftOf(latencies.subarray(0, answered)),
  };
}

function driftOf(latencies: Float64Array): number {
  const quarter = Math.floor(latencies.length / 4);
  if (quarter < 50) return 1;
  const p95 = (from: number) =>
    [...latencies.subarray(from, from + quarter)].sort((a, b) => a - b)[Math.floor(quarter * 0.95)] ?? 0;
  const before = p95(quarter);
  return before === 0 ? 1 : p95(latencies.length - quarter) / before;
}

/**
 * Draws service times that have the measured percentiles: straight between them, and stretched so that their mean is
 * `meanMs`, which is the time for which a slot was really taken.
 */
export function serviceLike(measured: Percentiles, meanMs: number): (random: Random) => number {
  const points: readonly (readonly [share: number, ms: number])[] = [
    [0, Math.max(0, Math.min(measured.p50, 2 * measured.p50 - measured.p90))],
    [0.5, measured.p50],
    [0.9, measured.p90],
    [0.95, measured.p95],
    [0.99, measured.p99],
    [1, measured.max],
  ];
  const mean = points.slice(1).reduce((sum, [share, ms], index) => {
    const [shareBefore, msBefore] = points[index] ?? [0, 0];
    return sum + ((ms + msBefore) / 2) * (share - shareBefore);
  }, 0);
  const stretch = mean === 0 ? 1 : meanMs / mean;
  return (random) => {
    const share = random();
    const above = points.findIndex(([limit]) => share < limit);
    const [low, high] = [points[above - 1], points[above]];
    if (!low || !high) return measured.max * stretch;
    return (low[1] + ((high[1] - low[1]) * (share - low[0])) / (high[0] - low[0])) * stretch;
  };
}

/** The highest rate whose simulated P95 stays within the limit with next to nothing shed, by bisection to 1 %. */
export function simulatedCeiling(
  simulation: Omit<Simulation, 'qps'>,
  meanServiceMs: number,
  p95Ms: number,
): number | null {
  const slots = simulation.fleet.nodes * simulation.fleet.slotsPerNode;
  const capacity = (slots * 1000) / meanServiceMs;
  const passes = (qps: number) => {
    const { latency, shed, sent, drift } = simulate({ ...simulation, qps });
    return latency !== null && latency.p95 <= p95Ms && shed <= 0.01 * sent && drift < 1.5;
  };
  let [low, high] = [0.05 * capacity, 1.05 * capacity];
  if (!passes(low)) return null;
  while (high / low > 1.01) {
    const middle = Math.sqrt(high * low);
    if (passes(middle)) low = middle;
    else high = middle;
  }
  return low;
}
