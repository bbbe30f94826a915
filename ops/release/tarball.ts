// Writes a folder as a tarball that is the same to the byte whenever the folder is the same, and looks into tarballs.
// The only file that calls tar; knows nothing of what is inside.

import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { createGzip } from 'node:zlib';
import type { Member } from './release.ts';

const run = promisify(execFile);
/** tar's language decides how it writes times and quotes names. */
const ENV = { PATH: process.env.PATH, LC_ALL: 'C', TZ: 'UTC' };
/** A release has some thousand members; their list is a few hundred KB. */
const LIST_BYTES = 64 * 1024 * 1024;

/** A tarball that cannot be read or written, in words for an operator. */
export class TarballFault extends Error {
  override readonly name = 'TarballFault';
}

/**
 * Packs a folder under its own name: sorted, with one time, one owner and plain rights everywhere. Written beside and
 * renamed, so that a tarball that is there is whole.
 * @param epochS The time that every member gets, s.
 */
export async function writeTarball(folder: string, tarball: string, epochS: number): Promise<void> {
  const beside = `${tarball}.part`;
  const tar = spawn(
    'tar',
    [
      '--create',
      '--format=gnu',
      '--sort=name',
      `--mtime=@${epochS}`,
      '--owner=0',
      '--group=0',
      '--numeric-owner',
      '--mode=u=rwX,go=rX',
      // A file with two names would otherwise be a link to whichever was found first.
      '--hard-dereference',
      `--directory=${dirname(folder)}`,
      basename(folder),
    ],
    { env: ENV, stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let complaints = '';
  tar.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaints += text;
  });
  const ended = new Promise<void>((resolve, reject) => {
    tar.once('error', (cause) => reject(missing(cause)));
    tar.once('close', (code) => {
      if (code === 0) resolve();
      else reject(new TarballFault(`tar ended with ${code}: ${complaints.trim()}`));
    });
  });
  try {
    // Node leaves the time out of gzip's header, so equal members give equal bytes.
    await Promise.all([ended, pipeline(tar.stdout, createGzip(), createWriteStream(beside))]);
    await rename(beside, tarball);
  } catch (error) {
    tar.kill();
    await rm(beside, { force: true });
    throw error;
  }
}

/** Every member, in the tarball's order. */
export async function membersOf(tarball: string): Promise<Member[]> {
  const list = await tarOf(tarball, [
    '--list',
    '--verbose',
    '--numeric-owner',
    '--full-time',
    '--quoting-style=escape',
  ]);
  return list.split('\n').filter(Boolean).map(memberOf);
}

/** One file of a tarball as text. */
export const textOf = (tarball: string, path: string) => tarOf(tarball, ['--extract', '--to-stdout', path]);

/** The SHA-256 of a file, in hex. */
export async function digestOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

async function tarOf(tarball: string, words: readonly string[]): Promise<string> {
  try {
    const { stdout } = await run(
      'tar',
      [...words.slice(0, 1), '--gzip', `--file=${tarball}`, ...words.slice(1)],
      {
        env: ENV,
        maxBuffer: LIST_BYTES,
      },
    );
    return stdout;
  } catch (cause) {
    const { code, stderr } = cause as { code?: unknown; stderr?: string };
    if (code === 'ENOENT') throw missing(cause);
    throw new TarballFault(`${tarball} is no whole tarball: ${stderr?.trim().split('\n')[0] ?? code}`, {
      cause,
    });
  }
}

const missing = (cause: unknown) => new TarballFault('GNU tar is needed (apt-get install tar)', { cause });

/** `-rw-r--r-- 0/0   1234 2026-01-01 00:00:00 top/a`, and behind a link ` -> target`. */
function memberOf(line: string): Member {
  const [, type = '', bytes = '', rest = ''] = /^(.)\S* +\S+ +(\d+) +\S+ +\S+ (.*)$/.exec(line) ?? [];
  const [path = '', target, ...more] = type === 'l' ? rest.split(' -> ') : [rest];
  // Where a name holds the arrow itself, nobody can tell from here where the link leads.
  const told = more.length === 0 ? type : 'unclear';
  const kind = ({ '-': 'file', d: 'folder', l: 'link' } as const)[told] ?? 'other';
  return {
    path: path.replace(/\/$/, ''),
    kind,
    bytes: kind === 'file' ? Number(bytes) : 0,
    ...(target === undefined ? {} : { target }),
  };
}
