// The folder of snapshots on this machine: lists, writes, verifies and removes them. A snapshot is written beside the others
// and renamed when it is whole; a file that an older snapshot has already is a second name of the same file.

import { createHash } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { chmod, link, mkdir, open, readdir, readFile, rename, rm, stat, statfs } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { BackupFault } from './fault.ts';
import { giveAwayAll, makeFolders } from './ownership.ts';
import type { Dated } from './retention.ts';
import {
  datedId,
  MANIFEST_FILE,
  type Snapshot,
  type SnapshotFile,
  snapshotIdOf,
  snapshotSchema,
} from './snapshot.ts';
import type { Source, Sources } from './sources.ts';
import { sync, writeSynced } from './synced.ts';

const MAKING = '.making-';
/** Room that stays free for everybody else on the disk, bytes. */
const MARGIN_BYTES = 16 * 1024 * 1024;

/** Who a snapshot is of. */
export interface Maker {
  readonly node: string;
  readonly version: string;
}

/** The snapshots below one folder. */
export class Store {
  readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
  }

  /** The folder of snapshots in a backup.dir, or the folder itself when it is one of snapshots. */
  static within(folder: string): string {
    const inside = join(folder, 'snapshots');
    return existsSync(inside) ? inside : folder;
  }

  pathOf(id: string): string {
    return join(this.folder, id);
  }

  /** All whole snapshots, oldest first. */
  async list(): Promise<Dated[]> {
    const names = await readdir(this.folder).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return [];
      throw new BackupFault(`${this.folder} cannot be read (${error.code})`, { cause: error });
    });
    const found: Dated[] = [];
    for (const name of names.sort()) {
      const dated = datedId(name);
      if (dated && (await stat(join(this.folder, name, MANIFEST_FILE)).catch(() => undefined)))
        found.push(dated);
    }
    return found;
  }

  /**
   * A snapshot's id by what somebody typed.
   * @throws {BackupFault} when there is none.
   */
  async find(named = 'latest'): Promise<string> {
    const all = await this.list();
    const found = named === 'latest' ? all.at(-1) : all.find(({ id }) => id === named);
    if (found) return found.id;
    const have = all.length === 0 ? 'there is none' : `there are ${all.map(({ id }) => id).join(', ')}`;
    throw new BackupFault(`${this.folder}: there is no snapshot ${named}; ${have}.`);
  }

  /** @throws {BackupFault} when the manifest is missing or broken. */
  async read(id: string): Promise<Snapshot> {
    const path = join(this.pathOf(id), MANIFEST_FILE);
    try {
      const snapshot = snapshotSchema.parse(JSON.parse(await readFile(path, 'utf8')));
      if (snapshot.id !== id) throw new Error(`it says that it is ${snapshot.id}`);
      return snapshot;
    } catch (cause) {
      throw new BackupFault(`${path} cannot be understood: ${firstLine(cause)}`, { cause });
    }
  }

  /** What speaks against a snapshot: files that are missing, changed, unreadable, or that nobody knows of. */
  async faultsOf(id: string): Promise<string[]> {
    let snapshot: Snapshot;
    try {
      snapshot = await this.read(id);
    } catch (error) {
      if (error instanceof BackupFault) return [error.message];
      throw error;
    }
    const top = this.pathOf(id);
    const faults: string[] = [];
    for (const { path, sha256, bytes } of snapshot.files) {
      try {
        const found = await digestOf(join(top, path));
        if (found.sha256 !== sha256)
          faults.push(`${id}/${path} has changed (${found.bytes} of ${bytes} bytes)`);
      } catch (error) {
        faults.push(`${id}/${path} cannot be read (${(error as NodeJS.ErrnoException).code})`);
      }
    }
    const known = new Set([MANIFEST_FILE, ...snapshot.files.map(({ path }) => path)]);
    for (const path of await filesBelow(top))
      if (!known.has(path)) faults.push(`${id}/${path} does not belong to it`);
    return faults;
  }

  /**
   * Makes a snapshot.
   * @throws {BackupFault} when a source cannot be read, is not what it should be, or the disk is full; then nothing is
   * left of it, and older snapshots stand.
   */
  async create(sources: Sources, maker: Maker, now: Date): Promise<Snapshot> {
    await makeFolders(this.folder, 0o700);
    await this.#sweep();
    const id = await this.#freeId(now);
    const making = join(this.folder, `${MAKING}${id}`);
    try {
      await mkdir(making, { mode: 0o700 });
      const before = await this.#digests();
      const files: SnapshotFile[] = [];
      for (const source of sources.files) files.push(await this.#add(source, making, before));
      const snapshot: Snapshot = {
        version: 1,
        id,
        node: maker.node,
        made_by: maker.version,
        places: sources.places,
        secrets: [...sources.secrets],
        files,
      };
      await writeSynced(join(making, MANIFEST_FILE), `${JSON.stringify(snapshot, null, 2)}\n`, 0o600);
      await giveAwayAll(making);
      for (const folder of [...(await foldersBelow(making)), making]) await sync(folder);
      await rename(making, this.pathOf(id));
      await sync(this.folder);
      return snapshot;
    } catch (error) {
      await rm(making, { recursive: true, force: true });
      throw this.#asFault(error);
    }
  }

  /** Takes a snapshot away, first its name, so that half of one is never listed. */
  async remove(id: string): Promise<void> {
    const going = join(this.folder, `${MAKING}${id}`);
    await rename(this.pathOf(id), going);
    await rm(going, { recursive: true, force: true });
  }

  /** What a backup that was killed has left. */
  async #sweep(): Promise<void> {
    for (const name of await readdir(this.folder))
      if (name.startsWith(MAKING)) await rm(join(this.folder, name), { recursive: true, force: true });
  }

  /** Two snapshots of one second have names of two. */
  async #freeId(now: Date): Promise<string> {
    const taken = new Set(await readdir(this.folder));
    for (let ms = now.getTime(); ; ms += 1000) {
      const id = snapshotIdOf(new Date(ms));
      if (!taken.has(id)) return id;
    }
  }

  /** Where the newest snapshot has which content. */
  async #digests(): Promise<ReadonlyMap<string, string>> {
    const newest = (await this.list()).at(-1);
    if (!newest) return new Map();
    const snapshot = await this.read(newest.id).catch(() => undefined);
    return new Map(
      snapshot?.files.map((file) => [keyOf(file), join(this.pathOf(newest.id), file.path)] as const),
    );
  }

  async #add(source: Source, making: string, before: ReadonlyMap<string, string>): Promise<SnapshotFile> {
    const { path, from } = source;
    const to = join(making, path);
    await mkdir(dirname(to), { recursive: true, mode: 0o700 });
    const secret = path.startsWith('secrets/');
    if ('text' in from) {
      await writeSynced(to, from.text, from.mode);
      return { path, mode: from.mode, ...textDigest(from.text) };
    }
    const { mode } = await stat(from.file);
    const plain = secret ? 0o600 : mode & 0o777;
    const found = { path, mode: plain, ...(await digestOf(from.file)) };
    if (source.sha256 !== undefined && source.sha256 !== found.sha256)
      throw new BackupFault(
        `${from.file} is not what the models' manifest says (SHA-256 ${found.sha256}). See: toonfleet models verify`,
      );
    const twin = secret ? undefined : before.get(keyOf(found));
    // A twin that has rotted meanwhile would spoil this snapshot as well.
    if (twin && (await digestOf(twin).catch(() => undefined))?.sha256 === found.sha256) {
      const linked = await link(twin, to).then(
        () => true,
        () => false,
      );
      if (linked) return found;
    }
    await this.#copy(from.file, to, found);
    return found;
  }

  /** @throws {BackupFault} when the file changes under the copy, or there is no room for it. */
  async #copy(from: string, to: string, { bytes, sha256, mode }: SnapshotFile): Promise<void> {
    const { bavail, bsize } = await statfs(this.folder);
    if (bytes + MARGIN_BYTES > bavail * bsize) throw Object.assign(new Error('no room'), { code: 'ENOSPC' });
    const file = await open(to, 'wx', 0o600);
    const hash = createHash('sha256');
    try {
      for await (const chunk of createReadStream(from)) {
        hash.update(chunk as Buffer);
        await file.write(chunk as Buffer);
      }
      await file.sync();
    } finally {
      await file.close();
    }
    await chmod(to, mode);
    if (hash.digest('hex') !== sha256)
      throw new BackupFault(`${from} changed while it was copied; try again.`);
  }

  #asFault(error: unknown): unknown {
    if (error instanceof BackupFault) return error;
    const { code, path } = error as NodeJS.ErrnoException;
    switch (code) {
      case 'ENOSPC':
      case 'EDQUOT':
        return new BackupFault(
          `There is no room for a snapshot in ${this.folder}; older ones stand. Make room, keep fewer (backup.keep_*), or set backup.dir elsewhere.`,
          { cause: error },
        );
      case 'ENOENT':
      case 'EACCES':
      case 'EPERM':
      case 'EROFS':
        return new BackupFault(
          `${path ?? this.folder}: ${code}; nothing was backed up, older snapshots stand.`,
          {
            cause: error,
          },
        );
      default:
        return error;
    }
  }
}

const keyOf = ({ sha256, mode }: Pick<SnapshotFile, 'sha256' | 'mode'>) => `${sha256} ${mode}`;

function textDigest(text: string): { bytes: number; sha256: string } {
  return { bytes: Buffer.byteLength(text), sha256: createHash('sha256').update(text).digest('hex') };
}

/** A file's length and SHA-256 in hex. */
export async function digestOf(path: string): Promise<{ bytes: number; sha256: string }> {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of createReadStream(path)) {
    hash.update(chunk as Buffer);
    bytes += (chunk as Buffer).length;
  }
  return { bytes, sha256: hash.digest('hex') };
}

async function filesBelow(top: string): Promise<string[]> {
  const entries = await readdir(top, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => relative(top, join(entry.parentPath, entry.name)));
}

async function foldersBelow(top: string): Promise<string[]> {
  const entries = await readdir(top, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isDirectory()).map((entry) => join(entry.parentPath, entry.name));
}

const firstLine = (error: unknown) => (error instanceof Error ? error.message : String(error)).split('\n')[0];
