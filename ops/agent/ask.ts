// Asks one worker one thing over HTTP. The only file of the agent that opens connections.

import { INTERNAL_PATHS, workerReportSchema } from '../../config/contract.ts';
import { nodeKeyHeader } from '../process/node-key.ts';
import { type Snapshot, snapshotSchema } from './aggregate.ts';
import type { Probe } from './roster.ts';

/** A worker's main thread never stalls for long, so one that takes more than this is not well. */
const PATIENCE_MS = 800;

/** How an agent asks its workers. */
export interface Ask {
  /** Whether the worker of that id still answers at its address. */
  readonly report: (worker: { id: string; url: string }) => Promise<Probe>;
  /** What it has counted; undefined when it does not say. */
  readonly metrics: (worker: { url: string }) => Promise<Snapshot | undefined>;
}

/** Asks with the node's key. */
export function createAsk(key: string | undefined): Ask {
  const headers = nodeKeyHeader(key);
  const get = async (url: string, path: string): Promise<unknown> => {
    const response = await fetch(new URL(path, url), {
      headers,
      redirect: 'error',
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    if (!response.ok) throw new Error(`${path} answered ${response.status}`);
    return response.json();
  };
  return {
    async report({ id, url }) {
      try {
        const report = workerReportSchema.parse(await get(url, INTERNAL_PATHS.workerReport));
        return report.id === id ? { kind: 'answered', report } : { kind: 'refused' };
      } catch (error) {
        return isRefusal(error) ? { kind: 'refused' } : { kind: 'silent' };
      }
    },
    async metrics({ url }) {
      try {
        return snapshotSchema.parse(await get(url, INTERNAL_PATHS.workerMetrics));
      } catch {
        return undefined;
      }
    },
  };
}

/** Whether the kernel said that nobody listens there. */
function isRefusal(error: unknown): boolean {
  const cause = error instanceof Error ? (error.cause as NodeJS.ErrnoException | undefined) : undefined;
  return cause?.code === 'ECONNREFUSED';
}
