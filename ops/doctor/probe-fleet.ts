// Asks the fleet for the doctor: every agent for its roster and its machine's report, every worker whether it takes our key.
// Judges nothing.

import { INTERNAL_PATHS, nodeRosterSchema } from '../../config/contract.ts';
import { type Asked, askAgent } from '../agents.ts';
import { type Report, reportSchema } from './finding.ts';
import type { AskedNode } from './fleet.ts';

const ASK_MS = 3_000;
/** A machine that is asked for a report makes digests of all its models first. */
const REPORT_MS = 70_000;

/** Each node by its agent, and each of its workers by itself. */
export function probeNodes(agents: readonly string[], key: string | undefined): Promise<AskedNode[]> {
  return Promise.all(
    agents.map(async (agent) => {
      const asked = await askAgent(agent, INTERNAL_PATHS.node, key, ASK_MS);
      const roster = asked.kind === 'answer' ? nodeRosterSchema.safeParse(asked.body) : undefined;
      if (!roster?.success) {
        // It answers, but not as an agent does.
        const other: Asked =
          asked.kind === 'answer'
            ? { kind: 'refused', status: 200, why: 'something that is no roster' }
            : asked;
        return {
          agent,
          asked: other,
          name: new URL(agent).host,
          release: undefined,
          draining: false,
          workers: [],
        };
      }
      const { node, release, draining, workers } = roster.data;
      return {
        agent,
        asked,
        name: node,
        release,
        draining,
        workers: await Promise.all(
          workers.map(async ({ url, state }) => ({
            url,
            state,
            asked: await askAgent(url, INTERNAL_PATHS.workerReport, key, ASK_MS),
          })),
        ),
      };
    }),
  );
}

/** A machine's own report, or why there is none. */
export async function probeReport(
  agent: string,
  key: string | undefined,
): Promise<{ report: Report } | { why: string }> {
  const asked = await askAgent(agent, INTERNAL_PATHS.doctor, key, REPORT_MS);
  if (asked.kind === 'refused' && asked.status === 404)
    return { why: 'its release is older than this command and has no doctor' };
  if (asked.kind !== 'answer') return { why: asked.why };
  const parsed = reportSchema.safeParse(asked.body);
  return parsed.success ? { report: parsed.data } : { why: 'its report makes no sense' };
}
