// `toonfleet scale N|auto [--node ID]`: tells a node's agent how many workers it should have. Speaks to agents only, with
// the node key; what follows is decided there (ops/agent/scaler.ts).

import { parseArgs } from 'node:util';
import { INTERNAL_PATHS, type NodeScale, nodeScaleSchema } from '../config/contract.ts';
import type { LoadedSettings } from '../config/load.ts';
import { ownAgent, rosterAt } from './agents.ts';
import { nodeKeyHeader } from './process/node-key.ts';
import { EXIT_USAGE, Refusal, STANDARD } from './terminal.ts';

const USAGE = `toonfleet scale N|auto [--node ID] [--json]
toonfleet scale [--node ID] [--json]
  N workers on this VM, or on the node ID (its name, or HOST:PORT of its agent), kept over restarts; auto takes that
  back: the signals of worker.scale decide again, or worker.count where they are off. Without a number it shows how
  things stand. Workers that leave finish what they have.
  Examples: toonfleet scale 3
            toonfleet scale auto --node vm-2`;

const PATIENCE_MS = 5_000;

/** Runs the command; the answer is the exit code. */
export async function scaleCommand(args: readonly string[], settings: () => LoadedSettings): Promise<number> {
  try {
    const { wish, node, json, help } = read(args);
    if (help) {
      STANDARD.say(USAGE);
      return 0;
    }
    const loaded = settings();
    const agent = node === undefined ? ownAgent(loaded) : await agentOf(node, loaded);
    const body = wish === undefined ? {} : { method: 'PUT', body: JSON.stringify({ workers: wish }) };
    const scale = nodeScaleSchema.parse(await ask(agent, INTERNAL_PATHS.nodeScale, loaded, body));
    STANDARD.say(json ? JSON.stringify(scale, null, 2) : scaleText(scale));
    return 0;
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    STANDARD.complain(error.message);
    return error.code;
  }
}

/** How a node's number of workers stands, in a line. */
export function scaleText({
  mode,
  current,
  desired,
  min,
  max,
  low_peak: lowPeak,
  reason,
}: NodeScale): string {
  const workers = `${current} ${current === 1 ? 'worker' : 'workers'}`;
  const wanted = current === desired ? '' : `, on the way to ${desired}`;
  switch (mode) {
    case 'off':
      return `${workers}${wanted} (not scaled)`;
    case 'fixed':
      return `${workers}${wanted} (${reason})`;
    case 'auto':
      return `${workers}${wanted} (auto, ${min} to ${max}${lowPeak ? ' in low peak' : ''}): ${reason}`;
  }
}

function read(args: readonly string[]) {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      options: { node: { type: 'string' }, json: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } },
      allowPositionals: true,
    });
    if (positionals.length > 1) throw new Error(`"${positionals[1]}" is one word too many.`);
    const [word] = positionals;
    const workers = word === undefined || word === 'auto' ? word : wholeOf(word);
    return { wish: workers, node: values.node, json: values.json ?? false, help: values.help ?? false };
  } catch (error) {
    throw new Refusal(`${(error as Error).message}\n${USAGE}`, EXIT_USAGE);
  }
}

function wholeOf(word: string): number {
  const count = Number(word);
  if (/^\d{1,3}$/.test(word) && count >= 1 && count <= 256) return count;
  throw new Error(`Found "${word}"; allowed: auto, or a whole number from 1 to 256.`);
}

/** The agent that is reached at that address, or calls its node by that name. */
async function agentOf(id: string, settings: LoadedSettings): Promise<string> {
  const agents = settings.nodes.map(({ agent }) => agent);
  const named = agents.find((agent) => new URL(agent).host === id);
  if (named !== undefined) return named;
  const names = await Promise.all(
    agents.map(async (agent) => (await rosterAt(agent, settings.node.key, PATIENCE_MS))?.node),
  );
  const found = agents[names.indexOf(id)];
  if (found !== undefined) return found;
  if (/^[^/]+:\d{1,5}$/.test(id)) return `http://${id}`;
  const known = names.map((name, index) => name ?? `${agents[index]} (does not answer)`).join(', ');
  throw new Refusal(`No agent of the settings calls its node "${id}"; there are: ${known || 'none'}.`, 1);
}

async function ask(
  agent: string,
  path: string,
  { node }: LoadedSettings,
  more: RequestInit = {},
): Promise<unknown> {
  let response: Response;
  try {
    response = await fetch(agent + path, {
      ...more,
      headers: { 'content-type': 'application/json', ...nodeKeyHeader(node.key) },
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
  } catch {
    throw new Refusal(`No agent answers at ${agent}. Is it running?`, 1);
  }
  const body = (await response.json().catch(() => ({}))) as { detail?: string };
  if (response.ok) return body;
  throw new Refusal(body.detail ?? `The agent at ${agent} answered ${response.status}.`, 1);
}
