// What a snapshot is: its name, its manifest, and what a file in it stands for on the machine. Pure.

import { join } from 'node:path';
import { z } from 'zod';
import type { Dated } from './retention.ts';

/** The file that makes a folder a snapshot. */
export const MANIFEST_FILE = 'MANIFEST.json';

const ID = /^(\d{4}-\d\d-\d\d)T(\d\d)-(\d\d)-(\d\d)Z$/;

/** The name of a snapshot: its second in UTC, so that names sort as times do. */
export const snapshotIdOf = (at: Date) =>
  at
    .toISOString()
    .replace(/\.\d+Z$/, 'Z')
    .replaceAll(':', '-');

/** A snapshot's name as a moment, or undefined for a name that is none. */
export function datedId(id: string): Dated | undefined {
  const at = new Date(id.replace(ID, '$1T$2:$3:$4Z'));
  return ID.test(id) && !Number.isNaN(at.getTime()) ? { id, at } : undefined;
}

/** A path inside a snapshot; it never leads out of it. */
const inside = z
  .string()
  .regex(/^(settings|state|models|secrets)\/[^\0]+$/)
  .refine((path) => !path.split('/').some((part) => part === '..' || part === '.' || part === ''));

export const snapshotSchema = z.strictObject({
  version: z.literal(1),
  id: z.string().regex(ID),
  node: z.string(),
  /** The version of toonfleet that made it. */
  made_by: z.string(),
  /** Where things were, and where they are restored to. */
  places: z.strictObject({
    /** Null when all settings came from the environment. */
    settings: z.string().nullable(),
    data_dir: z.string(),
    models_dir: z.string(),
  }),
  /** Files that hold secrets: whether they were there, and whether they are in here. */
  secrets: z.array(
    z.strictObject({ setting: z.string(), file: z.string(), present: z.boolean(), kept: z.boolean() }),
  ),
  files: z.array(
    z.strictObject({
      path: inside,
      bytes: z.number().int().min(0),
      sha256: z.string().regex(/^[0-9a-f]{64}$/),
      mode: z.number().int().min(0).max(0o777),
    }),
  ),
});
export type Snapshot = z.infer<typeof snapshotSchema>;
export type SnapshotFile = Snapshot['files'][number];
export type Places = Snapshot['places'];

/** Where a file of a snapshot belongs; undefined for settings of a machine that had no settings file. */
export function targetOf(
  { path }: SnapshotFile,
  places: Places,
  secrets: Snapshot['secrets'],
): string | undefined {
  const [part, ...rest] = path.split('/');
  const name = rest.join('/');
  switch (part) {
    case 'settings':
      return places.settings ?? undefined;
    case 'state':
      return join(places.data_dir, name);
    case 'models':
      return join(places.models_dir, name);
    case 'secrets':
      return secrets.find(({ setting }) => setting === name)?.file;
    default:
      return undefined;
  }
}

/** What all files have together. */
export const bytesOf = ({ files }: Snapshot) => files.reduce((sum, { bytes }) => sum + bytes, 0);
