// When this machine was last backed up, as the backup itself wrote it down. Makes no backup and judges none.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';

/** What `toonfleet backup create` leaves in data_dir. */
const statusSchema = z.object({ last_success: z.iso.datetime({ offset: true }) });

/**
 * The time of the last good backup, s since 1970. Undefined where none was ever tried; 0 where none has succeeded
 * or the note of it cannot be read, since a backup that nobody knows of is as good as none.
 */
export function lastBackup(dataDir: string): number | undefined {
  let text: string;
  try {
    text = readFileSync(join(dataDir, 'backup', 'status.json'), 'utf8');
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? undefined : 0;
  }
  try {
    return Date.parse(statusSchema.parse(JSON.parse(text)).last_success) / 1000;
  } catch {
    return 0;
  }
}
