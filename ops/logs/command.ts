// `toonfleet logs`: the lines of this VM or of the whole fleet in the order of time, and the configurations with which
// other programs rotate and ship them. Reads this VM's files itself and asks the other nodes' agents.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import {
  INTERNAL_PATHS,
  isRequestId,
  type LogEntry,
  type LogQuery,
  type LogReply,
  logApps,
  logLevels,
  logQuerySchema,
  logReplySchema,
  MAX_LOG_LINES,
} from '../../config/contract.ts';
import type { LoadedSettings } from '../../config/load.ts';
import { parseDuration } from '../../config/units.ts';
import { askAgent, fleetAgents } from '../agents.ts';
import { pm2HomeOf } from '../apps.ts';
import { pm2Answers, runPm2 } from '../pm2.ts';
import { readLogs } from '../process/log-files.ts';
import { PACKAGE_ROOT } from '../process/package.ts';
import { EXIT_USAGE, STANDARD, type Terminal } from '../terminal.ts';
import { prettyEntry } from './pretty.ts';
import { LOG_PROGRAMS, logPrograms, RenderFault, renderLogs } from './render.ts';

const USAGE = `toonfleet logs [--fleet | --node ID ...] [--request ID] [--level warn] [--app worker] [--since 10m]
               [--lines 200] [--follow] [--json]
toonfleet logs reopen
toonfleet logs render ${logPrograms.join('|')} [--to WHERE] [--user toonfleet] [--out FILE]

The log lines of this VM, the oldest first. With --fleet also those of every other node, whose agents are asked with the
node key; with --node only those of the nodes named.

  --request ID    what became of one request: its line at the balancer, at each worker that had it
  --level LEVEL   ${logLevels.join(', ')}: this one and worse
  --app APP       ${logApps.join(', ')}
  --since TIME    a duration such as 10m, or a time such as 2026-11-21T17:00:00Z
  --lines N       the last N of each node (200; at most ${MAX_LOG_LINES})
  --follow        go on with what comes, until Ctrl-C
  --json          as they stand in the files, with vm (the node) in front

reopen is for logrotate: PM2 and its apps open their files anew after these were renamed.

Examples:
  toonfleet logs --fleet --request 7b0c8f0e-3c1d-4f4e-9a55-0c6c1a1f8d10
  toonfleet logs --fleet --level warn --since 1h
  toonfleet logs render rsyslog --to logs.lan:5514 --out /etc/rsyslog.d/60-toonfleet.conf`;

const ASK_MS = 15_000;
const FOLLOW_MS = 1_000;

const FLAGS = {
  help: { type: 'boolean', short: 'h' },
  fleet: { type: 'boolean' },
  node: { type: 'string', multiple: true },
  request: { type: 'string' },
  level: { type: 'string' },
  app: { type: 'string' },
  since: { type: 'string' },
  lines: { type: 'string', short: 'n' },
  follow: { type: 'boolean', short: 'f' },
  json: { type: 'boolean' },
  to: { type: 'string' },
  user: { type: 'string' },
  out: { type: 'string' },
} as const;

/** What was typed makes no sense. */
class UsageFault extends Error {}

/** Runs `toonfleet logs ARGS`; the result is the exit code: 1 when a node that was asked for told nothing. */
export async function logsCommand(
  args: readonly string[],
  loadSettings: () => LoadedSettings,
  terminal: Terminal = STANDARD,
  over: AbortSignal = readerGone(),
): Promise<number> {
  const { say, complain } = terminal;
  try {
    const { values, positionals } = read(args);
    if (values.help) {
      say(USAGE);
      return 0;
    }
    if (positionals[0] === 'reopen') return await reopen(loadSettings(), terminal);
    if (positionals[0] === 'render') return render(positionals[1], values, loadSettings(), terminal);
    if (positionals.length > 0) throw new UsageFault(`There is no "logs ${positionals[0]}".`);
    return await show(values, loadSettings(), terminal, over);
  } catch (error) {
    if (error instanceof RenderFault) {
      complain(error.message);
      return 1;
    }
    if (!(error instanceof UsageFault)) throw error;
    complain(`${error.message}\n\n${USAGE}`);
    return EXIT_USAGE;
  }
}

type Values = ReturnType<typeof read>['values'];

function read(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: FLAGS, allowPositionals: true });
  } catch (error) {
    throw new UsageFault((error as Error).message);
  }
}

/** Aborted once nobody reads our output any more (`| head`), and with him the reason to go on. */
function readerGone(): AbortSignal {
  const over = new AbortController();
  process.stdout.once('error', () => over.abort());
  return over.signal;
}

/** Where lines come from. */
interface Source {
  /** What it is called until it has told its name. */
  readonly label: string;
  readonly ask: (query: LogQuery) => Promise<LogReply | { readonly fault: string }>;
}

async function show(
  values: Values,
  settings: LoadedSettings,
  { say, complain }: Terminal,
  over: AbortSignal,
): Promise<number> {
  const query = queryOf(values, Date.now());
  const sources = await sourcesOf(values, settings);
  const cursors = new Map<Source, string>();
  const silent = new Set<Source>();
  let failed = false;
  const once = async (next: boolean) => {
    const replies = await Promise.all(
      sources.map(async (source) => {
        const cursor = cursors.get(source);
        // A node that was silent is asked for what it has since the beginning of this command.
        const reply = await source.ask(next && cursor !== undefined ? { ...query, cursor } : query);
        if ('fault' in reply) {
          // Who follows is told once, and asks on.
          if (!silent.has(source)) complain(`${source.label}: ${reply.fault}`);
          silent.add(source);
          failed = true;
          return [];
        }
        if (silent.delete(source)) complain(`${source.label}: tells its logs again`);
        cursors.set(source, reply.cursor);
        if (!next)
          for (const note of notesOn(reply, query, values.lines !== undefined))
            complain(`${reply.node}: ${note}`);
        return reply.entries.map((entry) => ({ node: reply.node, entry }));
      }),
    );
    for (const { node, entry } of replies.flat().sort((a, b) => a.entry.at - b.entry.at))
      say(values.json ? jsonLine(node, entry) : prettyEntry(node, entry));
  };
  await once(false);
  if (!values.follow) return failed ? 1 : 0;
  while (!over.aborted) {
    await wait(FOLLOW_MS);
    await once(true);
  }
  return failed ? 1 : 0;
}

/** What an answer does not show. */
function notesOn({ entries, more, unread }: LogReply, { lines }: LogQuery, linesChosen: boolean): string[] {
  const notes: string[] = [];
  if (more && entries.length < lines)
    notes.push(
      'not all of its logs were looked through, or fit into one answer; narrow it with --since, --level or --app',
    );
  else if (more && !linesChosen)
    notes.push('there is more; ask for more with --lines, or narrow it with --since, --level or --app');
  if (unread > 0)
    notes.push(
      `${unread} older ${unread === 1 ? 'file is' : 'files are'} compressed and not looked through; zgrep on that machine does it, in pm2/logs of data_dir`,
    );
  return notes;
}

function queryOf({ request, level, app, since, lines }: Values, now: number): LogQuery {
  if (request !== undefined && !isRequestId(request))
    throw new UsageFault(`--request: found "${request}"; allowed are 1-128 letters, digits and . _ : -`);
  const parsed = logQuerySchema.safeParse({
    ...(request === undefined ? {} : { request }),
    ...(level === undefined ? {} : { level }),
    ...(app === undefined ? {} : { app }),
    ...(since === undefined ? {} : { since: sinceOf(since, now) }),
    ...(lines === undefined ? {} : { lines }),
  });
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new UsageFault(`--${issue?.path.join('.')}: ${issue?.message}`);
}

function sinceOf(text: string, now: number): number {
  const ago = parseDuration(text);
  const at = ago === undefined ? Date.parse(text) : now - ago;
  if (Number.isNaN(at))
    throw new UsageFault(`--since: found "${text}"; allowed is such as 10m, 2h or 2026-11-21T17:00:00Z`);
  return Math.max(0, at);
}

/** This VM's own files, and the agents of the others. */
async function sourcesOf({ fleet, node: wanted }: Values, settings: LoadedSettings): Promise<Source[]> {
  const folder = join(pm2HomeOf(settings), 'logs');
  const own: Source = {
    label: settings.node.name,
    ask: async (query) => {
      return { node: settings.node.name, ...(await readLogs(folder, query)) };
    },
  };
  if (!fleet && wanted === undefined) return [own];
  const asked = await Promise.all((await fleetAgents(settings)).map((agent) => named(agent, settings)));
  // What this VM's agent would tell stands in the files here.
  const others = asked.filter(({ label }) => label !== settings.node.name);
  const all = [own, ...others];
  if (wanted === undefined) return all;
  for (const name of wanted)
    if (!all.some(({ label }) => label === name))
      throw new UsageFault(
        `--node: there is no ${name}; there are ${all.map(({ label }) => label).join(', ')}.`,
      );
  return all.filter(({ label }) => wanted.includes(label));
}

/** An agent as a source, called by its node's name, or by its address while it does not tell that. */
async function named(agent: string, settings: LoadedSettings): Promise<Source> {
  const { key } = settings.node;
  const asked = await askAgent(agent, INTERNAL_PATHS.node, key, ASK_MS);
  const body = asked.kind === 'answer' ? (asked.body as { node?: unknown } | undefined) : undefined;
  const label = typeof body?.node === 'string' ? body.node : new URL(agent).host;
  return {
    label,
    ask: async (query) => {
      const search = new URLSearchParams(Object.entries(query).map(([name, value]) => [name, String(value)]));
      const reply = await askAgent(agent, `${INTERNAL_PATHS.logs}?${search}`, key, ASK_MS);
      if (reply.kind === 'silent') return { fault: reply.why };
      if (reply.kind === 'refused')
        return {
          fault:
            reply.status === 404
              ? 'its release is older than this command and does not tell its logs'
              : reply.why,
        };
      const parsed = logReplySchema.safeParse(reply.body);
      return parsed.success ? parsed.data : { fault: 'its answer makes no sense' };
    },
  };
}

function jsonLine(vm: string, { at, app, text }: LogEntry): string {
  if (text.startsWith('{') && text.endsWith('}')) return `{"vm":${JSON.stringify(vm)},${text.slice(1)}`;
  const time = at === 0 ? undefined : new Date(at).toISOString();
  return JSON.stringify({ vm, level: 'text', time, role: app, message: text });
}

/** Has PM2 and its apps open their log files anew. Where none runs there is nobody who would hold one. */
async function reopen(settings: LoadedSettings, { complain }: Terminal): Promise<number> {
  const home = pm2HomeOf(settings);
  if (!(await pm2Answers(home))) return 0;
  let output = '';
  const code = await runPm2(home, ['reloadLogs'], (text) => {
    output += text;
  });
  if (code !== 0) complain(`PM2 did not open its logs anew:\n${output.trim()}`);
  return code;
}

function render(
  program: string | undefined,
  { to, user, out }: Values,
  settings: LoadedSettings,
  { say, complain }: Terminal,
): number {
  const chosen = logPrograms.find((each) => each === program);
  if (chosen === undefined)
    throw new UsageFault(`logs render: found "${program ?? ''}"; allowed: ${logPrograms.join(', ')}.`);
  const text = renderLogs(
    chosen,
    readFileSync(join(PACKAGE_ROOT, 'ops/logs', LOG_PROGRAMS[chosen]), 'utf8'),
    {
      dataDir: settings.data_dir,
      node: process.execPath,
      root: PACKAGE_ROOT,
      user: user ?? 'toonfleet',
      vm: settings.node.name,
      to,
    },
  );
  if (out === undefined) say(text.trimEnd());
  else {
    writeFileSync(out, text);
    complain(`${out} is written`);
  }
  return 0;
}
