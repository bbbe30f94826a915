// Copies of snapshots that live elsewhere, by restic or rsync: sends, keeps as many as here, and brings back. The only file
// that knows these programs; what is in a snapshot it does not know.

import { execFile } from 'node:child_process';
import { mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { BackupFault } from './fault.ts';
import { giveAwayAll, makeFolders } from './ownership.ts';
import { kept, type Retention } from './retention.ts';
import { datedId, MANIFEST_FILE } from './snapshot.ts';

const run = promisify(execFile);
const OUTPUT_BYTES = 64 * 1024 * 1024;
const TAG = 'toonfleet';
/** Wrong or missing repository, in restic's words up to 0.16; later ones end with 10. */
const NO_REPOSITORY = /Is there a repository at the following location/;

/** Somewhere else. */
export interface Offsite {
  /** Sends a snapshot from the folder of snapshots. */
  send(folder: string, id: string): Promise<void>;
  /** Removes there what is not kept. */
  prune(retention: Retention): Promise<void>;
  /** Brings a snapshot, or `latest`, into a folder of snapshots; the answer is its id. */
  fetch(folder: string, named: string): Promise<string>;
}

/** What is needed to reach it. */
export interface OffsiteSettings {
  readonly offsite: 'none' | 'restic' | 'rsync';
  /** A repository of restic, or a folder for rsync, here or as HOST:PATH. */
  readonly target: string;
  readonly password?: string | undefined;
  /** How long one program may work, ms. */
  readonly timeout: number;
}

/** The place of the settings, or undefined when there is none. `cache` is a folder that may vanish. */
export function offsiteOf(settings: OffsiteSettings, node: string, cache: string): Offsite | undefined {
  switch (settings.offsite) {
    case 'none':
      return undefined;
    case 'restic':
      return resticPlace(settings, node, cache);
    case 'rsync':
      return rsyncPlace(settings);
  }
}

function resticPlace({ target, password, timeout }: OffsiteSettings, node: string, cache: string): Offsite {
  const env = { RESTIC_REPOSITORY: target, RESTIC_PASSWORD: password ?? '', RESTIC_CACHE_DIR: cache };
  const restic = (...args: string[]) => program('restic', args, timeout, env);
  const own = ['--tag', TAG, '--host', node];
  return {
    async send(folder, id) {
      try {
        await restic('cat', 'config');
      } catch (error) {
        if (!(error instanceof ProgramFault) || !(error.code === 10 || NO_REPOSITORY.test(error.said)))
          throw error;
        await restic('init');
      }
      // Only locks of processes that are gone.
      await restic('unlock');
      await restic('backup', '--tag', `${TAG},${id}`, '--host', node, join(folder, id));
    },
    async prune({ daily, weekly, monthly }) {
      // Each snapshot has a path of its own, by which restic would otherwise take it for the only one of its kind.
      const group = ['--group-by', 'host'];
      const keep = ['--keep-last', '1'];
      for (const [period, count] of Object.entries({ daily, weekly, monthly }))
        if (count > 0) keep.push(`--keep-${period}`, String(count));
      await restic('forget', ...own, ...group, ...keep, '--prune');
    },
    async fetch(folder, named) {
      const tag = named === 'latest' ? TAG : `${TAG},${named}`;
      return bring(folder, async (temporary) => {
        await restic('restore', 'latest', '--tag', tag, '--host', node, '--target', temporary);
      });
    },
  };
}

function rsyncPlace({ target, timeout }: OffsiteSettings): Offsite {
  const place = target.endsWith('/') ? target : `${target}/`;
  // Never asks for a password, and gives up on a line that is dead.
  const rsync = (...args: string[]) =>
    program('rsync', ['--timeout=60', ...args], timeout, {
      RSYNC_RSH: process.env.RSYNC_RSH ?? 'ssh -o BatchMode=yes -o ConnectTimeout=20',
    });
  const manifests = async () => {
    const list = await rsync(
      '--recursive',
      '--list-only',
      `--include=/*/`,
      `--include=/*/${MANIFEST_FILE}`,
      '--exclude=*',
      '--',
      place,
    );
    return list
      .split('\n')
      .map((line) => new RegExp(`(\\S+)/${MANIFEST_FILE}$`).exec(line)?.[1])
      .flatMap((id) => (id === undefined ? [] : (datedId(id) ?? [])))
      .sort((a, b) => a.at.getTime() - b.at.getTime());
  };
  const only = (id: string) => [`--include=/${id}/***`, '--exclude=*'];
  return {
    async send(folder) {
      // All that are here, so that what broke off last time is made whole; the manifests come last, since a folder is a
      // snapshot by its manifest.
      const all = ['--archive', '--hard-links', '--mkpath', '--exclude=/.making-*'];
      await rsync(...all, `--exclude=/*/${MANIFEST_FILE}`, '--', `${folder}/`, place);
      await rsync(...all, '--', `${folder}/`, place);
    },
    async prune(retention) {
      const there = await manifests();
      const keep = kept(there, retention);
      const empty = await mkdtemp(join(tmpdir(), 'toonfleet-empty-'));
      try {
        // rsync removes there what an empty folder does not have here, and sees nothing but this one snapshot.
        for (const { id } of there)
          if (!keep.has(id)) await rsync('--recursive', '--delete', ...only(id), '--', `${empty}/`, place);
      } finally {
        await rm(empty, { recursive: true, force: true });
      }
    },
    async fetch(folder, named) {
      const there = await manifests();
      const found = named === 'latest' ? there.at(-1) : there.find(({ id }) => id === named);
      if (!found) throw new BackupFault(`${target} has no snapshot ${named}.`);
      return bring(folder, async (temporary) => {
        await rsync('--archive', ...only(found.id), '--', place, `${temporary}/`);
      });
    },
  };
}

/** Lets a program write somewhere below a folder, and moves the one snapshot that it brought to its place. */
async function bring(folder: string, write: (temporary: string) => Promise<void>): Promise<string> {
  await makeFolders(folder, 0o700);
  const temporary = await mkdtemp(join(folder, '.making-fetch-'));
  try {
    await write(temporary);
    const entries = await readdir(temporary, { recursive: true, withFileTypes: true });
    const found = entries.find(
      ({ name, parentPath }) => name === MANIFEST_FILE && datedId(parentPath.split('/').at(-1) ?? ''),
    );
    if (!found) throw new BackupFault('No snapshot came back.');
    const id = found.parentPath.split('/').at(-1) ?? '';
    // What stands here already under that name is the older copy of the same, or a broken one.
    await rm(join(folder, id), { recursive: true, force: true });
    await rename(found.parentPath, join(folder, id));
    await giveAwayAll(join(folder, id));
    return id;
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

/** A program that ended badly. */
class ProgramFault extends BackupFault {
  readonly code: unknown;
  readonly said: string;

  constructor(name: string, code: unknown, said: string, cause: unknown) {
    super(`${name} failed (${String(code)}): ${said.trim().split('\n').slice(0, 6).join('\n  ')}`, { cause });
    this.code = code;
    this.said = said;
  }
}

async function program(
  name: string,
  args: readonly string[],
  timeout: number,
  env: Readonly<Record<string, string>>,
): Promise<string> {
  try {
    const { stdout } = await run(name, [...args], {
      env: { ...process.env, ...env },
      maxBuffer: OUTPUT_BYTES,
      timeout,
      killSignal: 'SIGTERM',
    });
    return stdout;
  } catch (cause) {
    const { code, killed, stderr = '' } = cause as { code?: unknown; killed?: boolean; stderr?: string };
    if (code === 'ENOENT')
      throw new BackupFault(
        `${name} is not installed here (apt-get install ${name}), and backup.offsite asks for it.`,
        {
          cause,
        },
      );
    if (killed)
      throw new BackupFault(
        `${name} was not done after ${timeout / 1000} s and was ended (backup.timeout).`,
        { cause },
      );
    throw new ProgramFault(name, code, stderr, cause);
  }
}
