// What an agent remembers over its own restart: where its workers were, and what the dead ones had counted. One small
// file, written atomically; a lost one costs a second of roster and a counter reset, never more.

import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { z } from 'zod';
import { snapshotSchema } from './aggregate.ts';

const memorySchema = z.object({
  /** The process that started the agent. Another one means another life of the whole node, whose counters start anew. */
  parent: z.number().int(),
  workers: z.array(z.object({ id: z.string(), url: z.url() })),
  dead: snapshotSchema,
});
export type Memory = z.infer<typeof memorySchema>;

/** What an agent under the same parent remembered; undefined when there is nothing, or nothing that can be read. */
export function recall(path: string, parent: number): Memory | undefined {
  try {
    const memory = memorySchema.parse(JSON.parse(readFileSync(path, 'utf8')));
    return memory.parent === parent ? memory : undefined;
  } catch {
    return undefined;
  }
}

/** Replaces what is remembered; not forced to the disk, since it is worth nothing after the machine's own restart. */
export function remember(path: string, memory: Memory): void {
  mkdirSync(dirname(path), { recursive: true });
  const fresh = `${path}.${process.pid}`;
  writeFileSync(fresh, JSON.stringify(memory));
  renameSync(fresh, path);
}
