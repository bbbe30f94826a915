// What the operating system says about this machine and its processes. The only file that reads /proc; where there is
// none (macOS) it answers from `node:os` as far as that goes.

import { readFileSync, statfsSync } from 'node:fs';
import { cpus, freemem, totalmem } from 'node:os';

/** CPU time of all cores since boot, s. */
export interface CpuTime {
  readonly busy: number;
  readonly idle: number;
}

/** USER_HZ: the kernel has told user space hundredths of a second on every platform since 2.6. */
const TICKS_PER_S = 100;

/** CPU time of all cores since boot. */
export function machineCpu(): CpuTime {
  const times = cpus().map((cpu) => cpu.times);
  const sum = (of: (t: (typeof times)[number]) => number) => times.reduce((all, t) => all + of(t), 0) / 1000;
  return { busy: sum((t) => t.user + t.nice + t.sys + t.irq), idle: sum((t) => t.idle) };
}

/** Memory of the machine, bytes; used is what a new program could not have. */
export function machineMemory(): { used: number; total: number } {
  const available = /^MemAvailable:\s+(\d+) kB$/m.exec(read('/proc/meminfo') ?? '')?.[1];
  const free = available === undefined ? freemem() : Number(available) * 1024;
  return { used: totalmem() - free, total: totalmem() };
}

/** The file system that a folder lies in, bytes; free is what our user may still write. Undefined when it cannot be asked. */
export function machineDisk(folder: string): { free: number; total: number } | undefined {
  try {
    const { bavail, blocks, bsize } = statfsSync(folder);
    return { free: bavail * bsize, total: blocks * bsize };
  } catch {
    return undefined;
  }
}

/** User and system time of one process, s; undefined when it is not there. */
export function processCpu(pid: number): number | undefined {
  const fields = statFields(pid);
  return fields ? (Number(fields[11]) + Number(fields[12])) / TICKS_PER_S : undefined;
}

/** The fields of /proc/PID/stat behind the name, which may hold spaces and brackets itself. */
function statFields(pid: number): string[] | undefined {
  const text = read(`/proc/${pid}/stat`);
  return text?.slice(text.lastIndexOf(')') + 2).split(' ');
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
