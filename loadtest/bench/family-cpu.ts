// The CPU time of everything that a trial started: balancer, agent, workers and what holds them.

import { readdirSync, readFileSync } from 'node:fs';

/** Linux tells user space hundredths of a second, whatever the kernel counts in. */
const TICKS_PER_S = 100;

/** User and system time of a process and of all living ones that descend from it, s. */
export function familyCpuSeconds(root: number): number {
  const processes = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => statOf(Number(name)) ?? []);
  const ticksBelow = (above: number): number =>
    processes
      .filter(({ parent }) => parent === above)
      .reduce((sum, { pid, ticks }) => sum + ticks + ticksBelow(pid), 0);
  return ((statOf(root)?.ticks ?? 0) + ticksBelow(root)) / TICKS_PER_S;
}

interface Stat {
  readonly pid: number;
  readonly parent: number;
  readonly ticks: number;
}

/** Undefined when the process has ended. */
function statOf(pid: number): Stat | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // Behind the name, which may hold spaces and brackets itself.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return { pid, parent: Number(fields[1]), ticks: Number(fields[11]) + Number(fields[12]) };
  } catch {
    return undefined;
  }
}
