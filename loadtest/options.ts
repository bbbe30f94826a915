// The command line of `toonfleet loadtest` as one frozen value, or one message that names every fault. Pure but for
// the files it is handed a reader for.

import { parseArgs } from 'node:util';
import { PATHS } from '../config/contract.ts';
import { parseDuration, parseSize } from '../config/units.ts';
import { type ArrivalKind, arrivalKinds } from './arrivals.ts';
import { DEFAULT_SIZES, type Size } from './pictures.ts';
import { PLANS, type PlanName, planNames } from './plans/index.ts';
import type { PlanSettings } from './plans/plan.ts';
import { type Run, runSchema, type Slo, sloSchema } from './result.ts';

/** What a run was asked for. */
export interface Options {
  readonly plan: PlanName;
  readonly url: URL;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly fields: Readonly<Record<string, string>>;
  /** `all` or `default` by the server's own list, or named. */
  readonly styles: readonly string[] | 'all' | 'default';
  readonly maxSide: number | undefined;
  readonly photos: string | undefined;
  readonly sizes: readonly Size[];
  readonly seed: number;
  readonly arrivals: ArrivalKind;
  readonly timeoutMs: number;
  readonly maxLateMs: number;
  readonly allowCache: boolean;
  readonly insecure: boolean;
  readonly ca: string | undefined;
  readonly agents: readonly string[];
  readonly admin: string | undefined;
  readonly nodeKey: string | undefined;
  readonly nodes: number | undefined;
  readonly slots: number | undefined;
  readonly slo: Slo;
  readonly settings: PlanSettings;
  readonly json: string | undefined;
  readonly html: string | undefined;
  readonly baseline: Run | undefined;
  readonly quiet: boolean;
}

/** A command line that cannot be run; exit 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** Reads a text file; throws what fs throws. An argument in tests. */
export type ReadText = (path: string) => string;

export const USAGE = `Usage: toonfleet loadtest URL [--plan NAME] [options]

Loads a running toonfleet with photos until the plan's question is answered, and reports.

Examples:
  toonfleet loadtest http://127.0.0.1:8080
  toonfleet loadtest http://127.0.0.1:8080 --plan steps --users 5,10,20,30 --html steps.html
  toonfleet loadtest http://127.0.0.1:8080 --sizes 512x512 --styles meadow --p95 2s --json ceiling.json
  toonfleet loadtest https://photos.example --plan soak --qps 20 --duration 30m --i-own-this-host

Plans:
${planNames.map((name) => `  ${name.padEnd(9)} ${PLANS[name].sentence}`).join('\n')}

What is sent:
  --photos DIR        JPEG, PNG and WebP files of a folder; without it photos are drawn by code
  --sizes WxH,...     sizes of drawn photos
  --styles NAMES      a list, "all" (the default) or "default"
  --max-side PX  --format NAME  --quality N  --effort NAME    as fields of each request
  --path PATH         ${PATHS.images} (default), ${PATHS.transform} or ${PATHS.upload}
  --header "N: V"     on every request; may be repeated (an API key, X-Priority)
  --deadline 5s       as X-Deadline-Ms
  --arrivals KIND     poisson (default) or constant
  --seed N            the same seed sends the same photos at the same moments (default 1)
  --timeout 60s       when an answer is worth nothing any more

Service level (defaults in loadtest/slo.json; "off" switches a clause off):
  --p95 3s   --errors 1%   --cpu 90%   --memory 500MB   --slo FILE

Plan settings:
  --step 30s          length of a step            --requests 200    at least so many a step
  --confirm 60s       length of a confirmation    --precision 5%    of the ceiling
  --start-qps N  --max-qps 2000                   where the search begins and ends
  --users 5,10,20     for steps                   --duration 60s    for steps, soak, spike, stress, reload
  --qps N             the rate to hold            --ceiling N|FILE  a known ceiling, or the JSON of a run
  --reload-command C  instead of "toonfleet reload"

Nodes under test (on loopback the defaults are this machine's own):
  --agents URL,...    CPU and memory; "off" asks nobody
  --admin URL         queue length, from the balancer's admin port; "off" asks nobody
  --node-key-file F   the secret of the fleet
  --nodes N --slots N what the fleet has, for the report and the capacity plan

Report:
  --json FILE  --html FILE  --baseline FILE (the JSON of an earlier run)  --quiet

Safety:
  --i-own-this-host   needed for any address but loopback
  --max-late 60ms     a generator later than this at p99 makes the run invalid (default: 2 % of the P95, at least 5ms)
  --allow-cache       answers from a cache do not make the run invalid
  --insecure  --ca FILE

Exit codes: 0 the service level is met (ceiling: found and confirmed); 1 it is not, or the run is worse than its
baseline; 2 wrong usage; 3 the run is invalid and says nothing about the server; 4 stopped: no usable server, or a
safety rule; 130 Ctrl-C (the report holds what was measured until then).
`;

const OPTIONS = {
  plan: { type: 'string', default: 'ceiling' },
  photos: { type: 'string' },
  sizes: { type: 'string' },
  styles: { type: 'string', default: 'all' },
  'max-side': { type: 'string' },
  format: { type: 'string' },
  quality: { type: 'string' },
  effort: { type: 'string' },
  path: { type: 'string', default: PATHS.images },
  header: { type: 'string', multiple: true, default: [] as string[] },
  deadline: { type: 'string' },
  arrivals: { type: 'string', default: 'poisson' },
  seed: { type: 'string', default: '1' },
  timeout: { type: 'string', default: '60s' },
  p95: { type: 'string' },
  errors: { type: 'string' },
  cpu: { type: 'string' },
  memory: { type: 'string' },
  slo: { type: 'string' },
  step: { type: 'string', default: '30s' },
  requests: { type: 'string', default: '200' },
  confirm: { type: 'string', default: '60s' },
  precision: { type: 'string', default: '5%' },
  'start-qps': { type: 'string' },
  'max-qps': { type: 'string', default: '2000' },
  users: { type: 'string', default: '5,10,20,30,50,80,100,200' },
  duration: { type: 'string' },
  qps: { type: 'string' },
  ceiling: { type: 'string' },
  'reload-command': { type: 'string' },
  agents: { type: 'string' },
  admin: { type: 'string' },
  'node-key-file': { type: 'string' },
  nodes: { type: 'string' },
  slots: { type: 'string' },
  json: { type: 'string' },
  html: { type: 'string' },
  baseline: { type: 'string' },
  quiet: { type: 'boolean', default: false },
  'i-own-this-host': { type: 'boolean', default: false },
  'max-late': { type: 'string' },
  'allow-cache': { type: 'boolean', default: false },
  insecure: { type: 'boolean', default: false },
  ca: { type: 'string' },
} as const;

/** Paths that take multipart and answer a picture. */
const PICTURE_PATHS: readonly string[] = [PATHS.images, PATHS.transform, PATHS.upload];
const LOCAL_AGENT = 'http://127.0.0.1:8001';
const LOCAL_ADMIN = 'http://127.0.0.1:8081';

/**
 * Reads a command line. `defaults` is the service level of slo.json.
 * @throws {UsageError} with every fault.
 */
export function readOptions(args: readonly string[], defaults: Slo, readText: ReadText): Options {
  const { values, positionals } = parsed(args);
  const read = new Reader(readText);
  const url = read.url(positionals);
  const loopback = url !== undefined && isLoopback(url.hostname);
  if (url && !loopback && !values['i-own-this-host']) {
    read.fault(
      `${url.host} is not loopback: a load test can take a server down. If it is yours, say so with --i-own-this-host`,
    );
  }
  const plan = planNames.find((name) => name === values.plan);
  if (!plan) read.fault(`--plan: there is no plan "${values.plan}"; there are ${planNames.join(', ')}`);
  const arrivals = arrivalKinds.find((kind) => kind === values.arrivals);
  if (!arrivals) read.fault(`--arrivals: found "${values.arrivals}"; allowed: ${arrivalKinds.join(' or ')}`);
  if (!PICTURE_PATHS.includes(values.path)) {
    read.fault(`--path: found "${values.path}"; allowed: ${PICTURE_PATHS.join(', ')}`);
  }
  const slo = read.slo(values, defaults);
  const deadlineMs = read.maybe(values.deadline, (text) => read.duration('--deadline', text));
  const fields = Object.fromEntries(
    (['max-side', 'format', 'quality', 'effort'] as const).flatMap((name) =>
      values[name] === undefined ? [] : [[name.replace('-', '_'), values[name]]],
    ),
  );
  const list = (text: string | undefined, local: string): string[] =>
    text === 'off'
      ? []
      : text === undefined
        ? loopback
          ? [local]
          : []
        : text.split(',').map((origin) => read.origin(origin));
  const keyFile = values['node-key-file'];
  const baseline = read.maybe(values.baseline, (file) => read.run('--baseline', file));
  const settings: PlanSettings = {
    step: read.duration('--step', values.step) / 1000,
    requests: read.whole('--requests', values.requests, 1),
    confirm: read.duration('--confirm', values.confirm) / 1000,
    precision: read.share('--precision', values.precision),
    startQps: read.maybe(values['start-qps'], (text) => read.positive('--start-qps', text)),
    maxQps: read.positive('--max-qps', values['max-qps']),
    qps: read.maybe(values.qps, (text) => read.positive('--qps', text)),
    ceilingQps: read.maybe(values.ceiling, (text) => read.ceiling(text)),
    duration: read.maybe(values.duration, (text) => read.duration('--duration', text) / 1000),
    users: values.users.split(',').map((text) => read.whole('--users', text, 1)),
    reloadCommand: values['reload-command'],
    deadlineMs,
  };
  const options = {
    path: values.path,
    headers: {
      ...read.headers(values.header),
      ...(deadlineMs === undefined ? {} : { 'x-deadline-ms': String(Math.round(deadlineMs)) }),
    },
    fields,
    styles: stylesOf(values.styles),
    maxSide: read.maybe(values['max-side'], (text) => read.whole('--max-side', text, 16)),
    photos: values.photos,
    sizes: values.sizes === undefined ? DEFAULT_SIZES : read.sizes(values.sizes),
    seed: read.whole('--seed', values.seed, 0),
    timeoutMs: read.duration('--timeout', values.timeout),
    maxLateMs: read.maybe(values['max-late'], (text) => read.duration('--max-late', text)) ?? lateBound(slo),
    allowCache: values['allow-cache'],
    insecure: values.insecure,
    ca: read.maybe(values.ca, (file) => read.text('--ca', file)),
    agents: list(values.agents, LOCAL_AGENT),
    admin: list(values.admin, LOCAL_ADMIN)[0],
    nodeKey: read.maybe(keyFile, (file) => read.text('--node-key-file', file).trim()),
    nodes: read.maybe(values.nodes, (text) => read.whole('--nodes', text, 1)),
    slots: read.maybe(values.slots, (text) => read.whole('--slots', text, 1)),
    slo,
    settings,
    json: values.json,
    html: values.html,
    baseline,
    quiet: values.quiet,
  };
  if (read.faults.length > 0 || !url || !plan || !arrivals) throw new UsageError(read.faults.join('\n'));
  return Object.freeze({ ...options, plan, url, arrivals });
}

/** Lateness adds to each latency; two percent of the limit are less than what a ceiling is searched to. */
export function lateBound(slo: Slo): number {
  return Math.max(5, (slo.p95_ms ?? 0) / 50);
}

/** Whether a host name is this machine and nothing else. */
export function isLoopback(hostname: string): boolean {
  return /^(localhost|127(\.\d{1,3}){3}|\[::1\]|::1)$/.test(hostname);
}

function stylesOf(text: string): Options['styles'] {
  return text === 'all' || text === 'default' ? text : text.split(',');
}

function parsed(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

type Values = ReturnType<typeof parsed>['values'];

/** Reads single values and keeps every fault. What it returns beside a fault is never used. */
class Reader {
  readonly faults: string[] = [];
  readonly #readText: ReadText;

  constructor(readText: ReadText) {
    this.#readText = readText;
  }

  fault(message: string): void {
    this.faults.push(message);
  }

  maybe<T>(text: string | undefined, read: (text: string) => T): T | undefined {
    return text === undefined ? undefined : read(text);
  }

  url(positionals: readonly string[]): URL | undefined {
    const [text, ...more] = positionals;
    if (text === undefined) this.fault('the URL of the server is missing, such as http://127.0.0.1:8080');
    else if (more.length > 0) this.fault(`one URL is enough; found also ${more.join(' ')}`);
    else if (!URL.canParse(text) || !/^https?:$/.test(new URL(text).protocol)) {
      this.fault(`"${text}" is not an http or https URL, such as http://127.0.0.1:8080`);
    } else if (!/^\/?$/.test(new URL(text).pathname)) {
      this.fault(`"${text}" has a path; give the server alone and the path with --path`);
    } else return new URL(text);
    return undefined;
  }

  origin(text: string): string {
    if (URL.canParse(text) && new URL(text).protocol === 'http:') return new URL(text).origin;
    this.fault(`"${text}" is not an origin such as http://127.0.0.1:8001`);
    return '';
  }

  duration(name: string, text: string): number {
    const ms = parseDuration(text);
    if (ms !== undefined && ms > 0) return ms;
    this.fault(`${name}: found "${text}"; allowed: a duration above 0, such as 500ms, 30s or 2m`);
    return 1;
  }

  positive(name: string, text: string): number {
    const value = Number(text);
    if (text.trim() !== '' && Number.isFinite(value) && value > 0) return value;
    this.fault(`${name}: found "${text}"; allowed: a number above 0`);
    return 1;
  }

  whole(name: string, text: string, min: number): number {
    const value = Number(text);
    if (text.trim() !== '' && Number.isInteger(value) && value >= min) return value;
    this.fault(`${name}: found "${text}"; allowed: a whole number from ${min}`);
    return min;
  }

  /** `5%` or `0.05`. */
  share(name: string, text: string): number {
    const match = /^(\d+(?:\.\d+)?)(%?)$/.exec(text);
    const value = match ? Number(match[1]) / (match[2] === '%' ? 100 : 1) : Number.NaN;
    if (value >= 0 && value <= 1) return value;
    this.fault(`${name}: found "${text}"; allowed: a share such as 5% or 0.05`);
    return 0.05;
  }

  sizes(text: string): Size[] {
    return text.split(',').map((each) => {
      const match = /^(\d{2,5})x(\d{2,5})$/.exec(each);
      const size = { width: Number(match?.[1]), height: Number(match?.[2]) };
      if (match && size.width >= 16 && size.height >= 16 && size.width * size.height <= 50e6) return size;
      this.fault(
        `--sizes: found "${each}"; allowed: WIDTHxHEIGHT in px, such as 512x512, at most 50 megapixels`,
      );
      return { width: 16, height: 16 };
    });
  }

  headers(lines: readonly string[]): Record<string, string> {
    return Object.fromEntries(
      lines.map((line) => {
        const match = /^([A-Za-z0-9-]+):\s*([\x20-\x7e]+)$/.exec(line);
        if (!match) this.fault(`--header: found "${line}"; allowed: "Name: value"`);
        return [(match?.[1] ?? 'x').toLowerCase(), match?.[2] ?? ''];
      }),
    );
  }

  slo(values: Values, defaults: Slo): Slo {
    const base = this.maybe(values.slo, (file) => this.sloFile(file)) ?? defaults;
    const clause = (text: string | undefined, fallback: number | null, read: (text: string) => number) =>
      text === undefined ? fallback : text === 'off' ? null : read(text);
    return {
      p95_ms: clause(values.p95, base.p95_ms, (text) => this.duration('--p95', text)),
      max_error_rate: clause(values.errors, base.max_error_rate, (text) => this.share('--errors', text)),
      max_cpu: clause(values.cpu, base.max_cpu, (text) => this.share('--cpu', text)),
      max_worker_memory_mb: clause(values.memory, base.max_worker_memory_mb, (text) => {
        const bytes = parseSize(text);
        if (bytes === undefined || bytes === 0)
          this.fault(`--memory: found "${text}"; allowed: a size such as 500MB`);
        return (bytes ?? 1) / 1e6;
      }),
    };
  }

  sloFile(file: string): Slo | undefined {
    const found = sloSchema.safeParse(this.#json('--slo', file));
    if (!found.success)
      this.fault(`--slo: ${file} is no service level: ${found.error.issues[0]?.message ?? ''}`);
    return found.data;
  }

  ceiling(text: string): number {
    if (/^\d+(\.\d+)?$/.test(text)) return this.positive('--ceiling', text);
    const run = this.run('--ceiling', text);
    if (run && run.ceiling_qps === null) this.fault(`--ceiling: ${text} holds no ceiling (plan ${run.plan})`);
    return run?.ceiling_qps ?? 1;
  }

  run(name: string, file: string): Run | undefined {
    const json = this.#json(name, file);
    if (json === undefined) return undefined;
    const found = runSchema.safeParse(json);
    if (!found.success) this.fault(`${name}: ${file} is not the JSON of a run of toonfleet loadtest`);
    return found.data;
  }

  text(name: string, file: string): string {
    try {
      return this.#readText(file);
    } catch (error) {
      this.fault(
        `${name}: ${file} cannot be read (${(error as NodeJS.ErrnoException).code ?? (error as Error).message})`,
      );
      return '';
    }
  }

  #json(name: string, file: string): unknown {
    const text = this.text(name, file);
    if (text === '') return undefined;
    try {
      return JSON.parse(text) as unknown;
    } catch {
      this.fault(`${name}: ${file} is not JSON`);
      return undefined;
    }
  }
}
