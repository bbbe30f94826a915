// Who has the PM2 home of this data folder: one `toonfleet start` at a time, written down in a small file. A start that
// was killed outright leaves its PM2 behind; the next one recognises it by this file and takes it away, and nobody else's.

import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { familyEnds, identify, isAlive, type ProcessIdentity, pm2Answers, sweepHome } from './pm2.ts';
import { takeProcessLock } from './process/process-lock.ts';

const identitySchema = z.object({ pid: z.number().int().positive(), since: z.string().optional() });
const tenantSchema = z.object({
  /** The command that waits in the foreground. */
  start: identitySchema,
  /** Its PM2, which leads a process group with all apps in it. */
  runtime: identitySchema.optional(),
  url: z.string(),
});

/** How long an orphaned PM2 may take to end its apps in order. */
const ORPHAN_PATIENCE_MS = 15_000;

/** How taking the home ended. */
export type Tenancy =
  | { readonly kind: 'taken'; readonly lease: Lease }
  | { readonly kind: 'running'; readonly sentence: string };

/** The right to a home, until {@link Lease.release}. */
export interface Lease {
  /** Writes down which PM2 belongs to this start. */
  readonly note: (runtimePid: number) => void;
  /** Sweeps the home and gives it back. */
  readonly release: () => void;
}

/** Takes a home, after clearing away what a killed start has left in it. `say` hears about that. */
export async function takeHome(home: string, url: string, say: (text: string) => void): Promise<Tenancy> {
  // Of two that find a dead start, the slower one would clear away what the quicker one has just begun.
  const lock = takeProcessLock(join(home, 'start.lock'), 'a start');
  if (lock.kind === 'held') return JUST_STARTING;
  try {
    return await takeAlone(home, url, say);
  } finally {
    lock.release();
  }
}

const JUST_STARTING: Tenancy = {
  kind: 'running',
  sentence: 'Another toonfleet is just starting from this folder.',
};

async function takeAlone(home: string, url: string, say: (text: string) => void): Promise<Tenancy> {
  const file = join(home, 'start.json');
  const before = readTenant(file);
  if (before && isAlive(asIdentity(before.start))) {
    const { pid } = before.start;
    return {
      kind: 'running',
      sentence: `toonfleet runs already from this folder: ${before.url} (process ${pid}). Stop it with Ctrl-C there or with: kill ${pid}`,
    };
  }
  if (before) {
    const runtime = before.runtime && asIdentity(before.runtime);
    if (runtime) await clearAway(home, runtime, say);
    sweepHome(home);
    rmSync(file, { force: true });
  } else if (await pm2Answers(home)) {
    return {
      kind: 'running',
      sentence: `A PM2 runs already with the home ${home}. Look with: PM2_HOME=${home} pm2 list; stop it with: PM2_HOME=${home} pm2 kill`,
    };
  }

  const start = identify(process.pid);
  try {
    writeFileSync(file, JSON.stringify({ start, url }), { flag: 'wx' });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    return JUST_STARTING;
  }
  return {
    kind: 'taken',
    lease: {
      note: (pid) => writeFileSync(file, JSON.stringify({ start, runtime: identify(pid), url })),
      release: () => {
        sweepHome(home);
        rmSync(file, { force: true });
      },
    },
  };
}

/** Ends what a killed start has left. Apps that lose their PM2 end themselves; those that do not are killed. */
async function clearAway(home: string, runtime: ProcessIdentity, say: (text: string) => void): Promise<void> {
  const family = { home, group: runtime.pid };
  if (isAlive(runtime)) {
    say(`clearing away what an earlier start has left (process ${runtime.pid})`);
    process.kill(runtime.pid, 'SIGTERM');
  } else if (isAlive({ pid: runtime.pid, since: undefined })) {
    // The number has become somebody else's, which the kernel allows only when its old group is empty.
    return;
  }
  await familyEnds(family, ORPHAN_PATIENCE_MS);
}

/** Who has a home: the command that waits, and its PM2; undefined when nobody has written himself down. */
export function tenantOf(
  home: string,
): { readonly start: ProcessIdentity; readonly runtime: ProcessIdentity | undefined } | undefined {
  const tenant = readTenant(join(home, 'start.json'));
  return tenant && { start: asIdentity(tenant.start), runtime: tenant.runtime && asIdentity(tenant.runtime) };
}

function readTenant(file: string): z.infer<typeof tenantSchema> | undefined {
  try {
    return tenantSchema.parse(JSON.parse(readFileSync(file, 'utf8')));
  } catch {
    return undefined;
  }
}

const asIdentity = ({ pid, since }: z.infer<typeof identitySchema>): ProcessIdentity => ({ pid, since });
