// One backup from its beginning to its end: a snapshot, the old ones that go, the copy elsewhere, and the note of it that
// the agent tells Prometheus. The copies here and elsewhere do not depend on each other: what fails is told last.

import { dirname, join } from 'node:path';
import { z } from 'zod';
import type { LoadedSettings } from '../../config/load.ts';
import { readDurable, writeDurable } from '../process/durable-file.ts';
import { VERSION } from '../process/package.ts';
import { BackupFault } from './fault.ts';
import { whileLocked } from './lock.ts';
import { offsiteOf } from './offsite.ts';
import { giveAway, giveAwayAll, makeFolders } from './ownership.ts';
import { kept, type Retention } from './retention.ts';
import { bytesOf, type Snapshot } from './snapshot.ts';
import { sourcesOf } from './sources.ts';
import { Store } from './store.ts';

/** What is written down about backups in `<data_dir>/backup/status.json`. */
const statusSchema = z.object({
  /** When all of a backup was last done, and what that took. */
  last_success: z.iso.datetime().optional(),
  snapshot: z.string().optional(),
  bytes: z.number().optional(),
  seconds: z.number().optional(),
  last_attempt: z.iso.datetime(),
  /** What was wrong the last time. */
  fault: z.string().optional(),
});
type Status = z.infer<typeof statusSchema>;

/** The settings' folder of snapshots. */
export const storeOf = ({ backup }: Pick<LoadedSettings, 'backup'>) =>
  new Store(join(backup.dir, 'snapshots'));

/** The settings' place elsewhere, if there is one. */
export const placeElsewhere = (settings: LoadedSettings) =>
  offsiteOf(settings.backup, settings.node.name, cacheOf(settings));

const cacheOf = ({ data_dir }: Pick<LoadedSettings, 'data_dir'>) => join(data_dir, 'backup', 'restic-cache');

/** The settings' retention. */
export const retentionOf = ({ backup }: Pick<LoadedSettings, 'backup'>): Retention => ({
  daily: backup.keep_daily,
  weekly: backup.keep_weekly,
  monthly: backup.keep_monthly,
});

/** Runs work while no other backup of this machine does. */
export const alone = <T>({ backup }: Pick<LoadedSettings, 'backup'>, work: () => Promise<T>) =>
  whileLocked(join(backup.dir, 'lock'), work);

/** A backup that was made. */
export interface Backup {
  readonly snapshot: Snapshot;
  readonly bytes: number;
  readonly seconds: number;
  readonly removed: readonly string[];
}

/**
 * Makes one backup.
 * @throws {BackupFault} after the note of it was written: what failed, and what stands nevertheless.
 */
export async function backUp(settings: LoadedSettings, withSecrets: boolean): Promise<Backup> {
  const began = new Date();
  try {
    const made = await alone(settings, async () => {
      const store = storeOf(settings);
      const maker = { node: settings.node.name, version: VERSION };
      const snapshot = await store.create(sourcesOf(settings, withSecrets), maker, began);
      const removed = await prune(settings, false);
      await sendElsewhere(settings, store, snapshot.id);
      return { snapshot, removed };
    });
    const bytes = bytesOf(made.snapshot);
    const seconds = (Date.now() - began.getTime()) / 1000;
    await note(settings, {
      last_success: new Date().toISOString(),
      snapshot: made.snapshot.id,
      bytes,
      seconds,
      last_attempt: began.toISOString(),
    });
    return { ...made, bytes, seconds };
  } catch (error) {
    const fault = error instanceof Error ? error.message : String(error);
    // Where even the note cannot be written, the old one stands and grows old, which the alert tells.
    await note(settings, { ...lastStatus(settings), last_attempt: began.toISOString(), fault }).catch(
      () => {},
    );
    throw error;
  }
}

/** Removes snapshots that are not kept, here; the answer is which. */
export async function prune(settings: LoadedSettings, dryRun: boolean): Promise<string[]> {
  const store = storeOf(settings);
  const all = await store.list();
  const keep = kept(all, retentionOf(settings));
  const going = all.map(({ id }) => id).filter((id) => !keep.has(id));
  if (!dryRun) for (const id of going) await store.remove(id);
  return going;
}

async function sendElsewhere(settings: LoadedSettings, store: Store, id: string): Promise<void> {
  const elsewhere = placeElsewhere(settings);
  if (!elsewhere) return;
  try {
    await elsewhere.send(store.folder, id);
    await elsewhere.prune(retentionOf(settings));
  } catch (error) {
    if (!(error instanceof BackupFault)) throw error;
    throw new BackupFault(`Snapshot ${id} is made, but not taken elsewhere: ${error.message}`, {
      cause: error,
    });
  } finally {
    await giveAwayAll(cacheOf(settings));
  }
}

const statusPath = ({ data_dir }: Pick<LoadedSettings, 'data_dir'>) =>
  join(data_dir, 'backup', 'status.json');

function lastStatus(settings: LoadedSettings): Partial<Status> {
  try {
    return readDurable(statusPath(settings), statusSchema, 'the note of the last backup') ?? {};
  } catch {
    return {};
  }
}

async function note(settings: LoadedSettings, status: Status): Promise<void> {
  const path = statusPath(settings);
  await makeFolders(dirname(path), 0o700);
  writeDurable(path, status);
  await giveAway(path);
}
