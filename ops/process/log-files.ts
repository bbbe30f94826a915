// Reads the logs of this machine's processes: the last lines from the end, or what has come since. Knows rotation (FILE.log,
// FILE.log.1, FILE.log.2 …), and that it must never read more than a bounded part of them. Compressed ones are not read, but
// counted.

import type { FileHandle } from 'node:fs/promises';
import { open, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { type LogApp, type LogEntry, type LogQuery, logApps } from '../../config/contract.ts';
import { ToonError } from '../../config/errors.ts';
import { entryOf, isWanted, timeOf } from './log-query.ts';

/** What was found. */
export interface LogBatch {
  /** The oldest first. */
  readonly entries: LogEntry[];
  readonly cursor: string;
  readonly more: boolean;
  /** Compressed files that the search has come to, and that may hold more of what was asked for. */
  readonly unread: number;
}

const CHUNK_BYTES = 256 * 1024;
/** How much of one process's logs is looked through for one answer: two files as large as they may grow. */
const BUDGET_BYTES = 128 * 1024 * 1024;
/** No line of ours is so long; nobody looks for the beginning of such a one. */
const LONGEST_LINE_BYTES = 4 * 1024 * 1024;
/** How much text one answer may hold. */
const ANSWER_CHARS = 4 * 1024 * 1024;

/** Where reading goes on: for each process the file, by its inode, and the place in it. */
const cursorSchema = z.partialRecord(z.enum(logApps), z.tuple([z.number(), z.number().min(0)]));
type Cursor = z.infer<typeof cursorSchema>;

/**
 * The lines that a query asks for, of all processes or one, in the order of time.
 * @param folder Where the logs are; one that is not there holds none.
 * @throws {ToonError} `bad_request` for a cursor that was not made here.
 */
export async function readLogs(folder: string, query: LogQuery): Promise<LogBatch> {
  const before = query.cursor === undefined ? undefined : decode(query.cursor);
  const apps = query.app === undefined ? logApps : [query.app];
  const parts = await Promise.all(
    apps.map((app) => (before ? readOn(folder, app, before[app], query) : readLast(folder, app, query))),
  );
  const all = parts.flatMap(({ entries }) => entries).sort((a, b) => a.at - b.at);
  const cursor: Cursor = {};
  for (const { app, end } of parts) if (end) cursor[app] = end;
  // The next lines are all given, since the cursor has passed them; each process has its own bound.
  const entries = before ? all : lastOf(all, query.lines);
  const full = entries.length >= query.lines;
  return {
    entries,
    cursor: Buffer.from(JSON.stringify(cursor)).toString('base64url'),
    more: parts.some(({ more }) => more) || entries.length < all.length,
    unread: full ? 0 : parts.reduce((sum, { unread }) => sum + unread, 0),
  };
}

interface Part {
  readonly app: LogApp;
  readonly entries: LogEntry[];
  readonly end: [inode: number, offset: number] | undefined;
  readonly more: boolean;
  readonly unread: number;
}

/** From the end backwards, until there are enough lines, older ones are not wanted, or the budget is used up. */
async function readLast(folder: string, app: LogApp, query: LogQuery): Promise<Part> {
  const paths = await filesOf(folder, app);
  const found: LogEntry[] = [];
  let budget = BUDGET_BYTES;
  let end: Part['end'];
  /** Lines without a time of their own belong to the event before them, which comes later on this way. */
  let timeless: string[] = [];
  let over = false;
  let more = false;
  const take = (text: string, at: number) => {
    if (found.length >= query.lines) more = true;
    else if (isWanted(text, query)) found.push(entryOf(app, at, text));
  };
  for (const path of paths) {
    if (over) break;
    const handle = await openIfThere(path);
    if (!handle) continue;
    try {
      const { ino, size } = await handle.stat();
      for await (const { text, offset, endless } of linesBackwards(handle, size)) {
        if (endless) {
          end ??= [ino, size];
          more = true;
          over = true;
          break;
        }
        // What is behind the last newline is still being written.
        if (offset === undefined) continue;
        end ??= [ino, offset];
        const at = timeOf(text);
        if (at === undefined) {
          if (query.request === undefined && timeless.length < query.lines) timeless.push(text);
        } else {
          if (query.since !== undefined && at < query.since) {
            over = true;
            break;
          }
          for (const late of timeless) take(late, at);
          timeless = [];
          take(text, at);
        }
        budget -= text.length;
        if (found.length >= query.lines || budget <= 0) {
          more = true;
          over = true;
          break;
        }
      }
      end ??= [ino, 0];
    } finally {
      await handle.close();
    }
  }
  if (!over && query.since === undefined) for (const text of timeless) take(text, 0);
  const unread = over ? 0 : await countCompressed(folder, app, query.since);
  return { app, entries: found.reverse(), end, more, unread };
}

/** From a place onwards, over a rotation if there was one. */
async function readOn(folder: string, app: LogApp, from: Part['end'], query: LogQuery): Promise<Part> {
  const entries: LogEntry[] = [];
  let end = from;
  let room = Math.floor(ANSWER_CHARS / logApps.length);
  let at = 0;
  const paths = await filesOf(folder, app);
  const inodes = await Promise.all(paths.map(inodeOf));
  const known = from === undefined ? -1 : inodes.indexOf(from[0]);
  // A file that is gone was rotated away for good: what is left begins with the newest.
  const rest = paths.slice(0, Math.max(known, 0) + 1).reverse();
  for (const path of rest) {
    const handle = await openIfThere(path);
    if (!handle) continue;
    try {
      const { ino, size } = await handle.stat();
      let offset = from !== undefined && ino === from[0] && from[1] <= size ? from[1] : 0;
      end = [ino, offset];
      while (offset < size) {
        if (entries.length >= query.lines || room <= 0) return { app, entries, end, more: true, unread: 0 };
        const { lines, used } = await linesFrom(handle, offset, size);
        if (used === 0) break;
        for (const text of lines) {
          at = timeOf(text) ?? at;
          if (query.since !== undefined && at < query.since) continue;
          if (!isWanted(text, query)) continue;
          entries.push(entryOf(app, at, text));
          room -= text.length;
        }
        offset += used;
        end = [ino, offset];
      }
    } finally {
      await handle.close();
    }
  }
  return { app, entries, end, more: false, unread: 0 };
}

/** The files of one process that can be read, the newest first. */
async function filesOf(folder: string, app: LogApp): Promise<string[]> {
  const pattern = new RegExp(`^${app}\\.log(?:\\.(\\d{1,3}))?$`);
  return (await readdir(folder).catch(() => []))
    .flatMap((name) => {
      const found = pattern.exec(name);
      return found ? [{ path: join(folder, name), age: Number(found[1] ?? 0) }] : [];
    })
    .sort((a, b) => a.age - b.age)
    .map(({ path }) => path);
}

/** How many compressed files of one process were last written to at or after a time. Compressing keeps that time. */
async function countCompressed(folder: string, app: LogApp, since = 0): Promise<number> {
  const pattern = new RegExp(`^${app}\\.log[.-].*\\.(?:gz|bz2|xz|zst)$`);
  const names = (await readdir(folder).catch(() => [])).filter((name) => pattern.test(name));
  const files = await Promise.all(names.map((name) => stat(join(folder, name)).catch(() => undefined)));
  return files.filter((file) => file !== undefined && file.mtimeMs >= since).length;
}

interface LineBackwards {
  readonly text: string;
  /** Where the line ends, newline included; undefined for a last one without newline. */
  readonly offset: number | undefined;
  /** Its beginning was not reached, and nothing comes after it. */
  readonly endless?: true;
}

/** Lines from the end. */
async function* linesBackwards(handle: FileHandle, size: number): AsyncGenerator<LineBackwards> {
  let start = size;
  /** Bytes that were read and not yet given. */
  let held: Buffer = Buffer.alloc(0);
  let closed = false;
  while (start > 0) {
    const length = Math.min(CHUNK_BYTES, start);
    start -= length;
    held = Buffer.concat([await bytesAt(handle, start, length), held]);
    for (;;) {
      const newline = held.lastIndexOf(10, closed ? held.length - 2 : held.length - 1);
      if (newline < 0 || (closed && held.length < 2)) break;
      const text = held.subarray(newline + 1, closed ? held.length - 1 : held.length).toString('utf8');
      if (closed || text !== '') yield { text, offset: closed ? start + held.length : undefined };
      held = held.subarray(0, newline + 1);
      closed = true;
    }
    if (held.length > LONGEST_LINE_BYTES) return yield { text: '', offset: undefined, endless: true };
  }
  if (held.length > (closed ? 1 : 0))
    yield {
      text: held.subarray(0, closed ? held.length - 1 : held.length).toString('utf8'),
      offset: closed ? held.length : undefined,
    };
}

/** Whole lines from a place on, and how many bytes they take; a line that is longer than a chunk is given in pieces. */
async function linesFrom(
  handle: FileHandle,
  offset: number,
  size: number,
): Promise<{ lines: string[]; used: number }> {
  const bytes = await bytesAt(handle, offset, Math.min(CHUNK_BYTES, size - offset));
  const newline = bytes.lastIndexOf(10);
  if (newline < 0)
    return bytes.length < CHUNK_BYTES
      ? { lines: [], used: 0 }
      : { lines: [bytes.toString('utf8')], used: bytes.length };
  return { lines: bytes.subarray(0, newline).toString('utf8').split('\n'), used: newline + 1 };
}

async function bytesAt(handle: FileHandle, position: number, length: number): Promise<Buffer> {
  const bytes = Buffer.alloc(length);
  let got = 0;
  while (got < length) {
    const { bytesRead } = await handle.read(bytes, got, length - got, position + got);
    if (bytesRead === 0) break;
    got += bytesRead;
  }
  return bytes.subarray(0, got);
}

async function openIfThere(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

async function inodeOf(path: string): Promise<number> {
  const handle = await openIfThere(path);
  if (!handle) return -1;
  try {
    return (await handle.stat()).ino;
  } finally {
    await handle.close();
  }
}

/** The last lines, as many as are wanted and as one answer may hold. */
function lastOf(entries: readonly LogEntry[], count: number): LogEntry[] {
  let room = ANSWER_CHARS;
  let start = entries.length;
  while (start > 0 && entries.length - start < count) {
    room -= entries[start - 1]?.text.length ?? 0;
    if (room < 0) break;
    start--;
  }
  return entries.slice(start);
}

function decode(cursor: string): Cursor {
  try {
    return cursorSchema.parse(JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8')));
  } catch {
    throw new ToonError('bad_request', { detail: 'cursor: it was not made here.' });
  }
}
