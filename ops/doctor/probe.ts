// Looks at this machine for the doctor: /proc, file systems, files, PM2. Judges nothing; what cannot be seen is undefined.

import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import {
  access,
  constants,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rmdir,
  stat,
  statfs,
} from 'node:fs/promises';
import { freemem, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { z } from 'zod';
import type { LoadedSettings } from '../../config/load.ts';
import type { Role } from '../apps.ts';
import { pm2Answers, runPm2 } from '../pm2.ts';
import { neededPorts, portFault } from '../ports.ts';
import type { Allocator, Limits, Memory, Volume, WrittenFolder } from './machine.ts';
import type { ModelFile } from './model-files.ts';
import type { Pm2Process, PortState, Units } from './running.ts';

/** The file systems under some folders; a folder that is not there yet is looked for upwards. */
export async function probeVolumes(folders: readonly string[]): Promise<Volume[]> {
  const byDevice = new Map<number, { folders: string[]; at: string }>();
  for (const folder of new Set(folders)) {
    const at = await nearestFolder(folder);
    const { dev } = await stat(at);
    const known = byDevice.get(dev);
    if (known) known.folders.push(folder);
    else byDevice.set(dev, { folders: [folder], at });
  }
  return Promise.all(
    [...byDevice.values()].map(async (each) => {
      const { bavail, blocks, bsize, ffree, files } = await statfs(each.at);
      return {
        folders: each.folders,
        freeBytes: bavail * bsize,
        totalBytes: blocks * bsize,
        freeInodes: ffree,
        totalInodes: files,
      };
    }),
  );
}

async function nearestFolder(folder: string): Promise<string> {
  for (let at = folder; ; at = dirname(at)) if ((await isFolder(at)) || at === dirname(at)) return at;
}

export async function probeMemory(): Promise<Memory> {
  const info = (await readText('/proc/meminfo')) ?? '';
  const kb = (name: string) => {
    const found = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(info)?.[1];
    return found === undefined ? undefined : Number(found) * 1024;
  };
  const swapTotalBytes = kb('SwapTotal') ?? 0;
  return {
    totalBytes: Math.min(kb('MemTotal') ?? totalmem(), await controlGroupBytes()),
    availableBytes: kb('MemAvailable') ?? freemem(),
    swapTotalBytes,
    swapUsedBytes: swapTotalBytes - (kb('SwapFree') ?? swapTotalBytes),
  };
}

/** What the control group of this process, or one above it, may use; v1 and v2. */
async function controlGroupBytes(): Promise<number> {
  const groups = ((await readText('/proc/self/cgroup')) ?? '').split('\n').map((line) => line.split(':'));
  const files = groups.flatMap(([, controllers, path]) => {
    if (path === undefined) return [];
    if (controllers === '') return upwards(path).map((each) => join('/sys/fs/cgroup', each, 'memory.max'));
    if (!controllers?.split(',').includes('memory')) return [];
    return upwards(path).map((each) => join('/sys/fs/cgroup/memory', each, 'memory.limit_in_bytes'));
  });
  const limits = await Promise.all(files.map(async (file) => Number((await readText(file)) ?? Number.NaN)));
  return Math.min(Number.POSITIVE_INFINITY, ...limits.filter((limit) => limit > 0));
}

const upwards = (path: string): string[] =>
  path === '/' || path === '.' ? ['/'] : [path, ...upwards(dirname(path))];

/** The limits of a process, or of this one. */
export async function probeLimits(
  process: { name: string; pid: number } | undefined,
): Promise<Limits | undefined> {
  const text =
    (process && (await readText(`/proc/${process.pid}/limits`))) ?? (await readText('/proc/self/limits'));
  if (text === undefined) return undefined;
  const soft = (name: string) => {
    const found = new RegExp(`^${name}\\s+(\\S+)`, 'm').exec(text)?.[1];
    return found === undefined || found === 'unlimited' ? Number.POSITIVE_INFINITY : Number(found);
  };
  return {
    who: process ? `the ${process.name}` : 'a process started from here',
    files: soft('Max open files'),
    processes: soft('Max processes'),
  };
}

export async function probeAllocator(worker: number | undefined): Promise<Allocator> {
  const environ = worker === undefined ? undefined : await readText(`/proc/${worker}/environ`);
  const entries = environ?.split('\0').flatMap((entry): [string, string][] => {
    const at = entry.indexOf('=');
    return at > 0 ? [[entry.slice(0, at), entry.slice(at + 1)]] : [];
  });
  const report = process.report?.getReport() as { header?: { glibcVersionRuntime?: string } } | undefined;
  return {
    glibc: report?.header?.glibcVersionRuntime,
    environment: entries && Object.fromEntries(entries),
    hugePages: await readText('/sys/kernel/mm/transparent_hugepage/enabled'),
  };
}

/** Tries to write, where the folder is there; else whether it could be made. */
export async function probeFolder(folder: string, use: string): Promise<WrittenFolder> {
  const at = await nearestFolder(folder);
  try {
    if (at === folder) await rmdir(await mkdtemp(join(folder, '.doctor-')));
    else await access(at, constants.W_OK);
    return { folder, use, fault: undefined };
  } catch (error) {
    return { folder, use, fault: (error as NodeJS.ErrnoException).code ?? (error as Error).message };
  }
}

/** The digest of each file that manifests name. */
export async function probeModelFiles(files: readonly Omit<ModelFile, 'actual'>[]): Promise<ModelFile[]> {
  const found: ModelFile[] = [];
  // One after the other: a disk that is read by many at once reads slowly, and workers are drawing.
  for (const file of files) found.push({ ...file, actual: await digestOf(file.path) });
  return found;
}

async function digestOf(path: string): Promise<string | undefined> {
  const hash = createHash('sha256');
  try {
    await pipeline(createReadStream(path), hash);
    return hash.digest('hex');
  } catch {
    return undefined;
  }
}

const pm2Schema = z.array(
  z.object({
    name: z.string(),
    pid: z.number(),
    pm2_env: z.object({
      status: z.string(),
      exec_mode: z.string(),
      kill_timeout: z.number().optional(),
      listen_timeout: z.number().optional(),
      wait_ready: z.boolean().optional(),
      merge_logs: z.boolean().optional(),
      max_memory_restart: z.number().optional(),
      restart_time: z.number().default(0),
      pm_uptime: z.number().default(0),
    }),
  }),
);

/** What PM2 runs in a home; undefined where none runs. */
export async function probePm2(home: string, now: number): Promise<Pm2Process[] | undefined> {
  if (!(await pm2Answers(home))) return undefined;
  let text = '';
  await runPm2(home, ['jlist'], (part) => {
    text += part;
  });
  const start = text.indexOf('[{');
  const parsed = pm2Schema.safeParse(
    start < 0 ? [] : JSON.parse(text.slice(start, text.lastIndexOf(']') + 1)),
  );
  return (parsed.data ?? []).map(({ name, pid, pm2_env: env }) => ({
    name,
    pid,
    status: env.status,
    exec_mode: env.exec_mode,
    kill_timeout: env.kill_timeout,
    listen_timeout: env.listen_timeout,
    wait_ready: env.wait_ready ?? false,
    merge_logs: env.merge_logs ?? false,
    max_memory_restart: env.max_memory_restart,
    restarts: env.restart_time,
    upMs: now - env.pm_uptime,
  }));
}

/** The ports of a role, and who has them. */
export async function probePorts(settings: LoadedSettings, role: Role, home: string): Promise<PortState[]> {
  const states: PortState[] = [];
  for (const { setting, host, port } of neededPorts(settings, role).filter((needed) => needed.port !== 0)) {
    const fault = await portFault({ setting, host, port });
    const holder = fault === undefined ? undefined : await holderOf(port);
    states.push({ setting, port, fault, holder: holder?.text, ours: holder?.home === home });
  }
  return states;
}

/** Who listens on a port, as far as this user may see. */
async function holderOf(port: number): Promise<{ text: string; home: string | undefined } | undefined> {
  const sockets = new Set(
    (await Promise.all(['/proc/net/tcp', '/proc/net/tcp6'].map(readText))).flatMap((text) =>
      listeners(text ?? '', port),
    ),
  );
  if (sockets.size === 0) return undefined;
  for (const pid of (await readdir('/proc').catch(() => [])).filter((name) => /^\d+$/.test(name))) {
    for (const fd of await readdir(`/proc/${pid}/fd`).catch(() => [])) {
      const link = await readlink(`/proc/${pid}/fd/${fd}`).catch(() => '');
      if (!sockets.has(/^socket:\[(\d+)\]$/.exec(link)?.[1] ?? '')) continue;
      const command = ((await readText(`/proc/${pid}/cmdline`)) ?? '')
        .split('\0')
        .join(' ')
        .trim()
        .slice(0, 80);
      const environ = (await readText(`/proc/${pid}/environ`)) ?? '';
      return {
        text: `${command || 'unknown'} (process ${pid})`,
        home: environ
          .split('\0')
          .find((entry) => entry.startsWith('PM2_HOME='))
          ?.slice('PM2_HOME='.length),
      };
    }
  }
  return undefined;
}

/** The inodes of sockets that listen on a port, in a table of /proc/net. */
function listeners(table: string, port: number): string[] {
  const hex = port.toString(16).toUpperCase().padStart(4, '0');
  return table.split('\n').flatMap((row) => {
    const [, local = '', , state, , , , , , inode] = row.trim().split(/\s+/);
    return state === '0A' && local.endsWith(`:${hex}`) && inode !== undefined ? [inode] : [];
  });
}

/** Whether logrotate is here and has a file for our logs, and how large the largest of them is. */
export async function probeLogs(folder: string): Promise<{ logrotate: boolean; largestBytes: number }> {
  const has = async (path: string) => (await stat(path).catch(() => undefined)) !== undefined;
  const program = (await has('/usr/sbin/logrotate')) || (await has('/usr/bin/logrotate'));
  const names = (await readdir(folder).catch(() => [])).filter((name) => name.endsWith('.log'));
  const sizes = await Promise.all(
    names.map(async (name) => (await stat(join(folder, name)).catch(() => undefined))?.size ?? 0),
  );
  return {
    logrotate: program && (await has('/etc/logrotate.d/toonfleet')),
    largestBytes: Math.max(0, ...sizes),
  };
}

export async function probeUnits(folder: string): Promise<Units> {
  const names = (await readdir(folder).catch(() => [])).filter((name) =>
    /^toonfleet(-balancer|-node)?\.service$/.test(name),
  );
  const units: Record<string, string> = {};
  for (const name of names) units[name] = (await readText(join(folder, name))) ?? '';
  return { systemd: await isFolder('/run/systemd/system'), units };
}

async function isFolder(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isDirectory() ?? false;
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch {
    return undefined;
  }
}
