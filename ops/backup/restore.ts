// Puts a snapshot back in its places: verified first, written beside, and renamed only when all of it is there. What stood
// in its way is kept beside as FILE.before-ID, and nothing is replaced unasked.

import { existsSync } from 'node:fs';
import { chmod, copyFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { pm2HomeOf } from '../apps.ts';
import { pm2Answers } from '../pm2.ts';
import { BackupFault } from './fault.ts';
import { giveAway, makeFolders } from './ownership.ts';
import type { Places } from './snapshot.ts';
import { type SnapshotFile, targetOf } from './snapshot.ts';
import { digestOf, type Store } from './store.ts';
import { sync } from './synced.ts';

/** How a restore is asked for. */
export interface RestoreOrder {
  readonly id: string;
  /** Instead of the places that the snapshot names. */
  readonly places: Partial<Places>;
  /** Files that are there and differ may be replaced. */
  readonly replace: boolean;
  readonly dryRun: boolean;
}

/** What becomes of one file. */
export interface RestoreStep {
  readonly target: string;
  readonly kind: 'new' | 'same' | 'replaced';
}

/** What was done, or with a dry run would be. */
export interface Restored {
  readonly steps: readonly RestoreStep[];
  /** Secrets that the snapshot knows of and does not hold, and that are missing here. */
  readonly missingSecrets: readonly string[];
}

interface Placed extends RestoreStep {
  readonly file: SnapshotFile;
  readonly from: string;
}

/**
 * Restores one snapshot.
 * @throws {BackupFault} when the snapshot is damaged, toonfleet runs here, something would be replaced unasked, or a file
 * cannot be written; then everything is as it was.
 */
export async function restore(store: Store, order: RestoreOrder): Promise<Restored> {
  const faults = await store.faultsOf(order.id);
  if (faults.length > 0)
    throw new BackupFault(
      [
        `Snapshot ${order.id} is damaged, so nothing was restored. Take another one (toonfleet backup list):`,
        ...faults,
      ].join('\n  '),
    );
  const snapshot = await store.read(order.id);
  const places: Places = { ...snapshot.places, ...order.places };
  if (await pm2Answers(pm2HomeOf(places)))
    throw new BackupFault(
      `toonfleet runs with ${places.data_dir}, and would write over what is restored. Stop it first (systemctl stop 'toonfleet*', or Ctrl-C).`,
    );
  const steps: Placed[] = [];
  for (const file of snapshot.files) {
    const target = targetOf(file, places, snapshot.secrets);
    if (target !== undefined) steps.push(await judge(file, target, join(store.pathOf(order.id), file.path)));
  }
  const replaced = steps.filter(({ kind }) => kind === 'replaced');
  if (replaced.length > 0 && !order.replace && !order.dryRun)
    throw new BackupFault(
      [
        `${replaced.length} files are there already and differ, so nothing was restored. With --replace they are kept beside, as FILE.before-${order.id}:`,
        ...replaced.slice(0, 10).map(({ target }) => target),
      ].join('\n  '),
    );
  const missingSecrets = snapshot.secrets
    .filter(({ present, kept, file }) => present && !kept && !existsSync(file))
    .map(({ setting, file }) => `${setting} (${file})`);
  if (!order.dryRun)
    await putBack(
      steps.filter(({ kind }) => kind !== 'same'),
      order.id,
    );
  return { steps: steps.map(({ target, kind }) => ({ target, kind })), missingSecrets };
}

async function judge(file: SnapshotFile, target: string, from: string): Promise<Placed> {
  const there = await digestOf(target).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined;
    throw new BackupFault(`${target} cannot be read (${error.code}), so nothing was restored.`, {
      cause: error,
    });
  });
  const kind = there === undefined ? 'new' : there.sha256 === file.sha256 ? 'same' : 'replaced';
  return { file, from, target, kind };
}

/** All files beside their places first, then all names; a name that cannot be given takes back those before it. */
async function putBack(steps: readonly Placed[], id: string): Promise<void> {
  const beside = ({ target }: Placed) => `${target}.restoring-${id}`;
  const undo: (() => Promise<unknown>)[] = [];
  try {
    for (const step of steps) {
      undo.push(() => rm(beside(step), { force: true }));
      await writeBeside(step, beside(step));
    }
    for (const step of steps) {
      if (step.kind === 'replaced') {
        const old = freeName(`${step.target}.before-${id}`);
        await rename(step.target, old);
        undo.push(() => rename(old, step.target));
      }
      await rename(beside(step), step.target);
      undo.push(() => rm(step.target, { force: true }));
    }
    for (const folder of new Set(steps.map(({ target }) => dirname(target)))) await sync(folder);
  } catch (cause) {
    for (const back of undo.reverse()) await back().catch(() => {});
    const { code, path } = cause as NodeJS.ErrnoException;
    const where = path === undefined ? '' : ` (${path})`;
    throw new BackupFault(
      `The restore failed${where}: ${code ?? (cause as Error).message}. Everything is as it was before it.`,
      { cause },
    );
  }
}

async function writeBeside({ file, from, target }: Placed, beside: string): Promise<void> {
  await makeFolders(dirname(target));
  await copyFile(from, beside);
  await chmod(beside, file.mode);
  await giveAway(beside);
  if ((await digestOf(beside)).sha256 !== file.sha256) throw new Error(`${beside} was not written as it is`);
  await sync(beside);
}

/** The same snapshot restored twice keeps both files that stood in its way. */
function freeName(wanted: string): string {
  for (let count = 1; ; count++) {
    const name = count === 1 ? wanted : `${wanted}.${count}`;
    if (!existsSync(name)) return name;
  }
}
