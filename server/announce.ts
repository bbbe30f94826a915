// Tells the node's agent that this worker exists, what state it is in, and that it leaves. The agent may be absent: then
// this keeps trying quietly, and nothing waits for it.

import { announceReplySchema, INTERNAL_PATHS, type WorkerReport } from '../config/contract.ts';
import { nodeKeyHeader } from '../ops/process/node-key.ts';

/** A voice towards the agent. */
export interface Announcer {
  /** Says at once that something changed. */
  changed(): void;
  /** Waits until the agent says that all balancers have seen the present state; at once when no agent answers. */
  untilSeen(mostMs: number): Promise<void>;
  /** Says goodbye, and nothing after it. */
  goodbye(): Promise<void>;
}

/** Whom to tell, and what. */
export interface AnnouncerOptions {
  /** The agent's origin. */
  readonly agent: string;
  readonly key: string | undefined;
  readonly report: () => WorkerReport;
  /** Hears that a tired worker may leave now. */
  readonly onMayRest?: () => void;
  /** How often the report is repeated, ms. */
  readonly heartbeatMs?: number;
}

const HEARTBEAT_MS = 1000;
const PATIENCE_MS = 1000;
/** How often to ask again while waiting to be seen, ms. */
const ASK_MS = 100;

/** What came of telling the agent. */
type Told = { readonly answered: boolean; readonly seen: boolean };

/** Starts to announce. */
export function startAnnouncer({
  agent,
  key,
  report,
  onMayRest = () => {},
  heartbeatMs = HEARTBEAT_MS,
}: AnnouncerOptions): Announcer {
  const url = new URL(INTERNAL_PATHS.announce, agent);
  const send = async (method: 'PUT' | 'DELETE', body: unknown): Promise<Told> => {
    try {
      const response = await fetch(url, {
        method,
        body: JSON.stringify(body),
        headers: {
          'content-type': 'application/json',
          ...nodeKeyHeader(key),
        },
        signal: AbortSignal.timeout(PATIENCE_MS),
      });
      const reply = announceReplySchema.safeParse(await response.json());
      if (reply.data?.may_rest) onMayRest();
      return { answered: response.ok, seen: reply.success && reply.data.seen };
    } catch {
      return { answered: false, seen: false };
    }
  };

  // One message at a time, so that an old state can never arrive after a new one.
  let turn: Promise<Told> = Promise.resolve({ answered: false, seen: false });
  let left = false;
  const tell = (): Promise<Told> => {
    turn = turn.then((last) => (left ? last : send('PUT', report())));
    return turn;
  };
  const timer = setInterval(tell, heartbeatMs);
  timer.unref();

  return {
    changed: () => void tell(),
    async untilSeen(mostMs) {
      const end = performance.now() + mostMs;
      for (;;) {
        const { answered, seen } = await tell();
        if (seen || !answered || performance.now() >= end) return;
        await new Promise((resolve) => setTimeout(resolve, ASK_MS));
      }
    },
    async goodbye() {
      clearInterval(timer);
      await turn;
      left = true;
      await send('DELETE', { id: report().id });
    },
  };
}
