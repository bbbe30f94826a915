// Who the fleet's agents are, and one question to one of them. For commands that look at the whole fleet.

import { ADMIN_PATHS, statusSchema } from '../config/admin.ts';
import { INTERNAL_PATHS, type NodeRoster, nodeRosterSchema } from '../config/contract.ts';
import type { LoadedSettings } from '../config/load.ts';
import { reachable } from '../config/reachable.ts';
import { nodeKeyHeader } from './process/node-key.ts';

/** What came of a question. */
export type Asked =
  | {
      readonly kind: 'answer';
      readonly body: unknown;
      /** The agent's `Date`, ms since 1970; the header knows whole seconds. */
      readonly date: number | undefined;
      /** Just before the question and just after the answer's head, on this machine's clock. */
      readonly sentAt: number;
      readonly answeredAt: number;
    }
  | { readonly kind: 'refused'; readonly status: number; readonly why: string }
  | { readonly kind: 'silent'; readonly why: string };

/** Asks one agent with the node key; never rejects. */
export async function askAgent(
  agent: string,
  path: string,
  key: string | undefined,
  timeoutMs: number,
): Promise<Asked> {
  const sentAt = Date.now();
  try {
    const response = await fetch(agent + path, {
      headers: nodeKeyHeader(key),
      redirect: 'error',
      signal: AbortSignal.timeout(timeoutMs),
    });
    const answeredAt = Date.now();
    const body: unknown = await response.json().catch(() => undefined);
    if (!response.ok)
      return { kind: 'refused', status: response.status, why: reasonIn(body, response.status) };
    const date = Date.parse(response.headers.get('date') ?? '');
    return { kind: 'answer', body, date: Number.isNaN(date) ? undefined : date, sentAt, answeredAt };
  } catch (error) {
    return { kind: 'silent', why: whySilent(error, timeoutMs) };
  }
}

/** A node's roster; undefined when its agent tells none. */
export async function rosterAt(
  agent: string,
  key: string | undefined,
  timeoutMs: number,
): Promise<NodeRoster | undefined> {
  const asked = await askAgent(agent, INTERNAL_PATHS.node, key, timeoutMs);
  return asked.kind === 'answer' ? nodeRosterSchema.safeParse(asked.body).data : undefined;
}

/** This machine's own agent. */
export const ownAgent = ({ agent }: Pick<LoadedSettings, 'agent'>) =>
  `http://${reachable(agent.host)}:${agent.port}`;

/** The agents of the settings, and those that the balancer was told of at run time, where it can be asked. */
export async function fleetAgents({ nodes, balancer }: LoadedSettings): Promise<string[]> {
  const known = nodes.map(({ agent }) => agent);
  const added = balancer.admin_token === undefined ? [] : await agentsOfBalancer(balancer);
  return [...new Set([...known, ...added])];
}

async function agentsOfBalancer(balancer: LoadedSettings['balancer']): Promise<string[]> {
  try {
    const response = await fetch(
      `http://${reachable(balancer.admin_host)}:${balancer.admin_port}${ADMIN_PATHS.status}`,
      {
        headers: { authorization: `Bearer ${balancer.admin_token}` },
        signal: AbortSignal.timeout(2_000),
      },
    );
    const { nodes } = statusSchema.parse(await response.json());
    return nodes.filter(({ kind }) => kind === 'agent').map(({ url }) => url);
  } catch {
    // No balancer here, or none that takes this token: the settings are what is known.
    return [];
  }
}

function reasonIn(body: unknown, status: number): string {
  const detail = typeof body === 'object' && body !== null && 'detail' in body ? body.detail : undefined;
  return typeof detail === 'string' ? detail : `status ${status}`;
}

function whySilent(error: unknown, timeoutMs: number): string {
  if (error instanceof Error && error.name === 'TimeoutError')
    return `no answer within ${timeoutMs / 1000} s`;
  const cause = error instanceof Error ? (error.cause as NodeJS.ErrnoException | undefined) : undefined;
  if (cause?.code === 'ECONNREFUSED') return 'nobody listens there';
  return cause?.code ?? (error as Error).message;
}
