// `toonfleet status|drain|undrain|node|traffic|pause|resume`: what an operator tells a running balancer, over its admin
// port and with its token. Reads and writes no state itself.

import http from 'node:http';
import { parseArgs } from 'node:util';
import { z } from 'zod';
import {
  ADMIN_PATHS,
  type AdminStatus,
  baseOf,
  DRAIN_WAIT_MS,
  drainReplySchema,
  type RollbackWish,
  statusSchema,
  type TrafficReply,
  trafficReplySchema,
} from '../config/admin.ts';
import type { LoadedSettings } from '../config/load.ts';
import { reachable } from '../config/reachable.ts';
import { parseDuration } from '../config/units.ts';
import { scaleText } from './scale.ts';
import { EXIT_USAGE, Refusal, STANDARD, type Terminal } from './terminal.ts';

export type FleetCommand = 'status' | 'drain' | 'undrain' | 'node' | 'traffic' | 'pause' | 'resume';

const USAGES: Readonly<Record<FleetCommand, string>> = {
  status: `toonfleet status [--json]
  The nodes, their slots and what they draw; the queue; how traffic is divided.`,
  drain: `toonfleet drain NODE [--wait 30s]
  The node finishes what it has and takes nothing new. Exit code 0 once it is idle, 3 when it is not in time (the drain
  goes on), 1 when it may not leave. NODE is its name, or HOST:PORT.
  Example: toonfleet drain vm-2 --wait 2m && ssh vm-2 sudo reboot`,
  undrain: `toonfleet undrain NODE
  Puts a drained node back to work.`,
  node: `toonfleet node add ID URL [--plain] [--slots N] [--release NAME]
toonfleet node remove ID
  Adds the node whose agent listens at URL, or with --plain a worker without one; takes one out. Kept over restarts.
  Example: toonfleet node add vm-4 http://10.0.0.14:8001`,
  traffic: `toonfleet traffic [RELEASE=WEIGHT ...] [--rollback] [--json]
toonfleet traffic --undivided
  Shows how traffic is divided, or divides it; each client keeps its release. With --rollback a canary that fails or is slow
  beside the release with the largest weight goes by itself.
  Example: toonfleet traffic 1.4.0=95 1.5.0=5 --rollback`,
  pause: `toonfleet pause
  Holds all pictures in the queue; its bound and the deadlines hold.`,
  resume: `toonfleet resume
  Draws what was held.`,
};

const EVERYWHERE = `
  --admin URL   the balancer's admin port (default: the one of the settings)
  The token is balancer.admin_token, from TOONFLEET_BALANCER__ADMIN_TOKEN or a file of mode 0600.`;

const FLAGS = {
  help: { type: 'boolean', short: 'h' },
  json: { type: 'boolean' },
  admin: { type: 'string' },
  wait: { type: 'string' },
  plain: { type: 'boolean' },
  slots: { type: 'string' },
  release: { type: 'string' },
  rollback: { type: 'boolean' },
  undivided: { type: 'boolean' },
} as const;
type Flag = keyof typeof FLAGS;

/** The flags that each command takes beside --help, --json and --admin. */
const OWN_FLAGS: Readonly<Record<FleetCommand, readonly Flag[]>> = {
  status: [],
  drain: ['wait'],
  undrain: [],
  node: ['plain', 'slots', 'release'],
  traffic: ['rollback', 'undivided'],
  pause: [],
  resume: [],
};

/** The drain stands, but something still runs there. */
const EXIT_NOT_YET = 3;

/** Runs one command; the answer is the exit code. */
export async function fleetCommand(
  command: FleetCommand,
  args: readonly string[],
  loadSettings: () => LoadedSettings,
  { say, complain }: Terminal = STANDARD,
): Promise<number> {
  try {
    const { values, words } = read(command, args);
    if (values.help) {
      say(USAGES[command] + EVERYWHERE);
      return 0;
    }
    return await run(command, words, values, callerFor(loadSettings(), values.admin), say);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    complain(error.message);
    return error.code;
  }
}

type Values = ReturnType<typeof read>['values'];

function read(command: FleetCommand, args: readonly string[]) {
  try {
    const { values, positionals } = parseArgs({ args: [...args], options: FLAGS, allowPositionals: true });
    const allowed = new Set<string>(['help', 'json', 'admin', ...OWN_FLAGS[command]]);
    const odd = Object.keys(values).find((flag) => !allowed.has(flag));
    if (odd !== undefined) throw new Error(`${command} takes no --${odd}.`);
    return { values, words: positionals };
  } catch (error) {
    throw new Refusal(`${(error as Error).message}\n${USAGES[command]}`, EXIT_USAGE);
  }
}

async function run(
  command: FleetCommand,
  words: readonly string[],
  values: Values,
  call: Call,
  say: Terminal['say'],
): Promise<number> {
  const expect = (count: number) => {
    if (words.length !== count) throw new Refusal(USAGES[command], EXIT_USAGE);
  };
  const [first = '', id = '', url = ''] = words;
  switch (command) {
    case 'status': {
      expect(0);
      const body = await call('GET', ADMIN_PATHS.status);
      say(values.json ? JSON.stringify(body, null, 2) : statusText(statusSchema.parse(body)));
      return 0;
    }
    case 'drain':
    case 'undrain': {
      expect(1);
      return drain(command, first, values, call, say);
    }
    case 'node': {
      expect(first === 'remove' ? 2 : 3);
      const path = `${ADMIN_PATHS.nodes}/${encodeURIComponent(id)}`;
      if (first === 'remove') {
        await call('DELETE', path);
        say(`${id} is out; what it draws is finished.`);
        return 0;
      }
      if (first !== 'add') throw new Refusal(USAGES.node, EXIT_USAGE);
      await call('PUT', path, specOf(url, values));
      say(`${id} is a node of the fleet now; it gets pictures as soon as it passes its checks.`);
      return 0;
    }
    case 'traffic': {
      const wish = wishOf(words, values);
      const body = wish
        ? await call('PUT', ADMIN_PATHS.traffic, wish)
        : await call('GET', ADMIN_PATHS.traffic);
      say(values.json ? JSON.stringify(body, null, 2) : trafficText(trafficReplySchema.parse(body)));
      return 0;
    }
    case 'pause':
    case 'resume': {
      expect(0);
      const path = command === 'pause' ? ADMIN_PATHS.pause : ADMIN_PATHS.resume;
      const { queued } = z.object({ queued: z.number() }).parse(await call('POST', path));
      say(
        command === 'pause'
          ? `paused; ${queued} pictures wait. Go on with: toonfleet resume`
          : `resumed; ${queued} pictures wait for a slot`,
      );
      return 0;
    }
  }
}

async function drain(
  command: 'drain' | 'undrain',
  id: string,
  { wait, json }: Values,
  call: Call,
  say: Terminal['say'],
): Promise<number> {
  const waitMs = wait === undefined ? DRAIN_WAIT_MS : parseDuration(wait);
  if (waitMs === undefined)
    throw new Refusal(`--wait: found "${wait}"; allowed is a duration such as 30s or 2m.`, EXIT_USAGE);
  const query = command === 'drain' ? `?wait=${waitMs}ms` : '';
  const body = await call('POST', `${ADMIN_PATHS.nodes}/${encodeURIComponent(id)}/${command}${query}`);
  const reply = drainReplySchema.parse(body);
  const { node, drained, in_flight: inFlight } = reply;
  if (json) say(JSON.stringify(reply, null, 2));
  else if (command === 'undrain') say(`${node} works again`);
  else if (drained) say(`${node} is drained: nothing runs there, and every balancer knows`);
  else
    say(
      `${node} takes nothing new, but is not idle yet (${inFlight} in flight); ask again with the same command`,
    );
  return command === 'drain' && !drained ? EXIT_NOT_YET : 0;
}

function specOf(url: string, { plain, slots, release }: Values): object {
  if (!plain) {
    if (slots !== undefined || release !== undefined)
      throw new Refusal('--slots and --release are for --plain workers; an agent tells its own.', EXIT_USAGE);
    return { agent: url };
  }
  return {
    url,
    ...(slots === undefined ? {} : { slots: Number(slots) }),
    ...(release === undefined ? {} : { release }),
  };
}

function wishOf(words: readonly string[], { rollback, undivided }: Values): object | undefined {
  if (undivided) {
    if (words.length > 0 || rollback) throw new Refusal(USAGES.traffic, EXIT_USAGE);
    return { weights: null };
  }
  if (words.length === 0) {
    if (rollback) throw new Refusal('--rollback needs weights beside it.', EXIT_USAGE);
    return undefined;
  }
  const weights = words.map((word): [string, number] => {
    const [, release, weight] = /^(.+)=(\d+(?:\.\d+)?)$/.exec(word) ?? [];
    if (release === undefined || weight === undefined)
      throw new Refusal(`Found "${word}"; allowed is RELEASE=WEIGHT, such as 1.4.0=95.`, EXIT_USAGE);
    return [release, Number(weight)];
  });
  return { weights: Object.fromEntries(weights), ...(rollback ? { rollback: true } : {}) };
}

function statusText({
  version,
  status,
  paused,
  queue,
  nodes,
  spare,
  load,
  traffic,
  min_available: min,
}: AdminStatus): string {
  const waiting = queue.interactive + queue.batch;
  const rows = nodes.map((node) => [
    node.id,
    stateOf(node),
    `${node.in_flight}/${node.slots}`,
    node.release ?? '-',
    node.zone ?? '-',
    node.url,
    node.fault ?? '',
  ]);
  const scaled = nodes.flatMap(({ id, scale }) => (scale ? [`${id}: ${scaleText(scale)}`] : []));
  return [
    `balancer ${version}: ${status}${paused ? ', paused' : ''}; ${waiting} waiting; at least ${min} ${min === 1 ? 'node stays' : 'nodes stay'} in service`,
    trafficText(traffic),
    table([['NODE', 'STATE', 'BUSY', 'RELEASE', 'ZONE', 'URL', ''], ...rows]),
    ...scaled,
    spareText(spare, load.busy),
  ].join('\n');
}

function spareText(
  {
    slots,
    needed,
    zones,
    without_largest_zone: zone,
    without_a_node_of_each_zone: node,
  }: AdminStatus['spare'],
  busy: number,
): string {
  const enough = (left: { slots: number; enough: boolean }) =>
    `${left.slots} (${left.enough ? 'enough' : 'NOT enough'})`;
  const rows = zones.map(
    (row) => `${row.zone} ${row.slots} in ${row.nodes} ${row.nodes === 1 ? 'node' : 'nodes'}`,
  );
  const all = `slots: ${slots} in service (${rows.join(', ') || 'none'}), ${busy.toFixed(1)} taken on average, ${needed} needed`;
  if (slots === 0) return all;
  return `${all}; without a node of each zone ${enough(node)}, without zone ${zone.zone} ${enough(zone)}`;
}

function stateOf({ draining, available, in_flight: inFlight }: AdminStatus['nodes'][number]): string {
  if (draining) return inFlight > 0 ? 'draining' : 'drained';
  return available ? 'in service' : 'out';
}

function trafficText({ weights, rollback, rolled_back: gone, seen }: TrafficReply): string {
  if (weights === null) return 'traffic: not divided';
  const all = Object.values(weights).reduce((sum, weight) => sum + weight, 0);
  const shares = Object.entries(weights).map(
    ([release, weight]) => `${release} ${Math.round((1000 * weight) / all) / 10} %`,
  );
  const lines = [`traffic: ${shares.join(', ')}${rollback ? '; canaries are watched' : ''}`];
  if (gone) lines.push(`${gone.release} went by itself at ${gone.at}: ${gone.sentence}`);
  if (rollback && seen)
    for (const [release, weight] of Object.entries(weights))
      if (weight > 0 && release !== baseOf(weights, rollback))
        lines.push(canaryText(release, seen[release]?.attempts ?? 0, seen[release]?.faults ?? 0, rollback));
  return lines.join('\n');
}

function canaryText(release: string, attempts: number, faults: number, { min_requests }: RollbackWish) {
  if (attempts === 0)
    return `${release} got no picture yet, so it is not judged (from ${min_requests} attempts on)`;
  const failed = `${release}: ${faults} of ${attempts} attempts failed`;
  return attempts < min_requests
    ? `${failed}; too few to judge it (from ${min_requests} on)`
    : `${failed}; nothing speaks against it`;
}

function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? '').length)),
  );
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** Calls the admin API; anything but success is a {@link Refusal} with the balancer's own sentence. */
export type Call = (method: string, path: string, body?: object) => Promise<unknown>;

/** What a balancer has for an answer, beside what it was asked to wait for. */
const PATIENCE_MS = 10_000;

/** @param patienceMs A balancer that takes a call and answers nothing holds its operator no longer than this. */
export function callerFor(
  { balancer }: LoadedSettings,
  admin: string | undefined,
  patienceMs = PATIENCE_MS,
): Call {
  const token = balancer.admin_token;
  if (token === undefined)
    throw new Refusal(
      'No admin token: set TOONFLEET_BALANCER__ADMIN_TOKEN, or balancer.admin_token_file to a file of mode 0600, as for the balancer itself.',
      1,
    );
  const base = admin ?? `http://${reachable(balancer.admin_host)}:${balancer.admin_port}`;
  if (!URL.canParse(base) || !base.startsWith('http'))
    throw new Refusal(`--admin: found "${base}"; allowed is such as http://10.0.0.10:8081.`, EXIT_USAGE);
  return async (method, path, body) => {
    const url = new URL(path, base);
    const limitMs = patienceMs + askedWaitMs(url);
    const { status, text } = await exchange(url, { method, token, body, limitMs });
    let answer: unknown;
    try {
      answer = JSON.parse(text);
    } catch {
      throw new Refusal(`${base} does not answer like a balancer's admin port (status ${status}).`, 1);
    }
    if (status < 300) return answer;
    const refused = z.object({ error: z.string() }).safeParse(answer);
    throw new Refusal(refused.success ? refused.data.error : `The balancer answered ${status}.`, 1);
  };
}

/** For how long the balancer itself was asked to wait, ms. */
function askedWaitMs({ pathname, searchParams }: URL): number {
  if (!pathname.endsWith('/drain')) return 0;
  const wait = searchParams.get('wait');
  return (wait === null ? undefined : parseDuration(wait)) ?? DRAIN_WAIT_MS;
}

interface Question {
  readonly method: string;
  readonly token: string;
  readonly body: object | undefined;
  readonly limitMs: number;
}

/** Every order says how things shall be, not what shall change, so that it may be given twice. */
const afterNoAnswer = (method: string) =>
  method === 'GET'
    ? 'Give the same command again.'
    : 'What was asked may be done or not: see toonfleet status, or give the same command again, which is safe.';

/** Node's own client: fetch would give up a long drain after five minutes. */
function exchange(
  url: URL,
  { method, token, body, limitMs }: Question,
): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const payload = body === undefined ? '' : JSON.stringify(body);
    let connected = false;
    const fail = (error: NodeJS.ErrnoException) => {
      if (!connected && error.name !== 'AbortError')
        return reject(
          new Refusal(
            `No balancer answers at ${url.origin} (${error.code ?? error.message}). Is it running?`,
            1,
          ),
        );
      const what =
        error.name === 'AbortError'
          ? `took the call, but did not answer within ${limitMs / 1000} s.`
          : 'ended before it answered.';
      reject(new Refusal(`The balancer at ${url.origin} ${what} ${afterNoAnswer(method)}`, 1));
    };
    const request = http.request(
      url,
      {
        method,
        agent: false,
        signal: AbortSignal.timeout(limitMs),
        headers: {
          authorization: `Bearer ${token}`,
          'content-type': 'application/json',
          'content-length': Buffer.byteLength(payload),
        },
      },
      (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => {
          text += chunk;
        });
        response.once('error', fail);
        response.once('end', () => resolve({ status: response.statusCode ?? 0, text }));
      },
    );
    request.once('socket', (socket) => socket.once('connect', () => (connected = true)));
    request.once('error', fail);
    request.end(payload);
  });
}
