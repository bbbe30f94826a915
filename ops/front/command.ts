// `toonfleet nginx render` and `toonfleet keepalived render`: reads a template, asks the agents for their slots, and writes
// the filled text. What stands in it is decided in `nginx.ts` and `keepalived.ts`.

import { closeSync, fchmodSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { LoadedSettings } from '../../config/load.ts';
import { rosterAt } from '../agents.ts';
import { PACKAGE_ROOT, VERSION } from '../process/package.ts';
import { fillTemplate } from '../process/template.ts';
import { STANDARD } from '../terminal.ts';
import { keepalivedValues } from './keepalived.ts';
import {
  limitsOf,
  type NginxServer,
  nginxServers,
  nginxValues,
  notCarriedOver,
  Unrenderable,
} from './nginx.ts';

/** How an nginx configuration is asked for. */
export interface RenderOptions {
  /** The file to write; stdout without it. */
  readonly out: string | undefined;
  /** A whole nginx.conf instead of what stands inside http {}. */
  readonly whole: boolean;
  /** Agents are not asked; all nodes count the same. */
  readonly offline: boolean;
}

const ASK_TIMEOUT_MS = 2_000;

const { complain } = STANDARD;

/** Renders nginx's configuration; the answer is the exit code. */
export async function renderNginx(settings: LoadedSettings, options: RenderOptions): Promise<number> {
  const { servers, agents } = nginxServers(settings);
  const weighed = options.offline ? servers : await askSlots(servers, agents, settings.node.key);
  let text: string;
  try {
    const values = nginxValues(settings, weighed, limitsOf(settings), originOf(settings));
    const site = fillTemplate(template('nginx/toonfleet.conf'), values);
    text = options.whole ? fillTemplate(template('nginx/nginx.conf'), { ...values, site }) : site;
  } catch (error) {
    if (!(error instanceof Unrenderable)) throw error;
    complain(error.message);
    return 1;
  }
  for (const sentence of notCarriedOver(settings)) complain(sentence);
  write(text, options.out, settings.node.key !== undefined);
  if (options.out !== undefined) complain(`${options.out} is written; next: nginx -t, then nginx -s reload`);
  return 0;
}

/** Renders keepalived's configuration; the answer is the exit code. */
export function renderKeepalived(settings: LoadedSettings, out: string | undefined): number {
  let text: string;
  try {
    const values = keepalivedValues(settings, originOf(settings));
    text = fillTemplate(template('ops/keepalived/keepalived.conf'), values);
  } catch (error) {
    if (!(error instanceof Unrenderable)) throw error;
    complain(error.message);
    return 1;
  }
  write(text, out, false);
  if (out !== undefined) complain(`${out} is written; next: keepalived -t -f ${out}`);
  return 0;
}

const originOf = ({ source }: LoadedSettings) =>
  `Made by toonfleet ${VERSION} from ${source ?? 'defaults and environment'}; render it again instead of editing.`;

const template = (path: string) => readFileSync(join(PACKAGE_ROOT, path), 'utf8');

/** Writes a text to a file, which only its owner can read when it holds a secret, or to stdout. */
export function write(text: string, out: string | undefined, secret: boolean): void {
  if (out === undefined) {
    process.stdout.write(text);
    return;
  }
  const mode = secret ? 0o600 : 0o644;
  const file = openSync(out, 'w', mode);
  try {
    // The mode above counts for new files alone; a secret must not stand in an open one, not even for a moment.
    fchmodSync(file, mode);
    writeFileSync(file, text);
  } finally {
    closeSync(file);
  }
}

/** Each node's slots as its agent tells them; when one is silent all nodes count the same, and that is said. */
async function askSlots(
  servers: readonly NginxServer[],
  agents: ReadonlyMap<string, string>,
  key: string | undefined,
): Promise<readonly NginxServer[]> {
  const asked = await Promise.all(
    servers.map(async (server) => {
      const agent = agents.get(server.address);
      return agent === undefined ? server : { ...server, slots: await slotsOf(agent, key) };
    }),
  );
  const silent = asked.filter(({ address, slots }) => agents.has(address) && slots === undefined);
  if (silent.length > 0)
    complain(
      `The agents of ${silent.map(({ address }) => address).join(', ')} did not tell their slots, so all nodes get the same share. Render again when they are up, or say --offline.`,
    );
  return asked;
}

async function slotsOf(agent: string, key: string | undefined): Promise<number | undefined> {
  const roster = await rosterAt(agent, key, ASK_TIMEOUT_MS);
  const working = roster?.workers.filter(({ state }) => state !== 'draining') ?? [];
  const slots = working.reduce((sum, worker) => sum + worker.slots, 0);
  return slots > 0 ? slots : undefined;
}
