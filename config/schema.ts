// Every setting once: its type, unit, default, bounds and one sentence. Pure: reads no file and no environment.
// `config/load.ts` turns files and environment into these settings; `toonfleet config docs` prints this file as a table.

import { z } from 'zod';
import { isNetwork } from './address.ts';
import { isCron, isTimeZone } from './cron-window.ts';
import { formatDuration, formatSize, parseDuration, parseSize } from './units.ts';

/** What a person needs to know about one setting; kept in the schema's metadata. */
export interface SettingDoc {
  readonly kind: 'string' | 'number' | 'boolean' | 'duration' | 'size' | 'enum' | 'list' | 'auto-number';
  /** One sentence on what the setting does. */
  readonly sentence: string;
  /** The values that are accepted, in words. */
  readonly allowed: string;
  /** A value that is accepted, as it would stand in the YAML file. */
  readonly example: string;
  /** The default, in words. */
  readonly fallback: string;
  /** Its values are not repeated in messages: what stands there by mistake may be a secret. */
  readonly hidden?: boolean;
  /** Secrets are read from the environment or from a file with mode 0600, never from the settings file. */
  readonly secret?: boolean;
}

const docs = z.registry<SettingDoc>();

/** The description of a setting's schema, when the schema is a leaf of the settings. */
export function settingDoc(schema: z.ZodType): SettingDoc | undefined {
  return docs.get(schema);
}

const whole = (fallback: number, min: number, max: number, sentence: string) =>
  z
    .number()
    .int()
    .min(min)
    .max(max)
    .default(fallback)
    .register(docs, {
      kind: 'number',
      sentence,
      allowed: `a whole number from ${min} to ${max}`,
      example: String(fallback),
      fallback: String(fallback),
    });

const port = (fallback: number, sentence: string) =>
  whole(fallback, 0, 65535, `${sentence} 0 takes any free port.`);

const duration = (fallback: string, min: string, max: string, sentence: string) => {
  const low = parseDuration(min) ?? 0;
  const high = parseDuration(max) ?? 0;
  return z
    .union([z.string(), z.number()])
    .transform((value, context) => {
      const ms = parseDuration(value);
      if (ms !== undefined && ms >= low && ms <= high) return ms;
      context.addIssue({ code: 'custom', message: 'not such a duration' });
      return z.NEVER;
    })
    .prefault(fallback)
    .register(docs, {
      kind: 'duration',
      sentence,
      allowed: `a duration from ${formatDuration(low)} to ${formatDuration(high)}, such as 500ms, 30s or 2m (a bare number is ms)`,
      example: fallback,
      fallback,
    });
};

const size = (fallback: string, min: string, max: string, sentence: string) => {
  const low = parseSize(min) ?? 0;
  const high = parseSize(max) ?? 0;
  return z
    .union([z.string(), z.number()])
    .transform((value, context) => {
      const bytes = parseSize(value);
      if (bytes !== undefined && bytes >= low && bytes <= high) return bytes;
      context.addIssue({ code: 'custom', message: 'not such a size' });
      return z.NEVER;
    })
    .prefault(fallback)
    .register(docs, {
      kind: 'size',
      sentence,
      allowed: `a size from ${formatSize(low)} to ${formatSize(high)}, such as 512KiB or 20MiB (a bare number is bytes)`,
      example: fallback,
      fallback,
    });
};

const text = (fallback: string, pattern: RegExp, allowed: string, example: string, sentence: string) =>
  z
    .string()
    .regex(pattern)
    .default(fallback)
    .register(docs, {
      kind: 'string',
      sentence,
      allowed,
      example,
      fallback: fallback === '' ? '(empty)' : fallback,
    });

const host = (fallback: string, sentence: string) =>
  text(fallback, /^[0-9a-zA-Z.:_-]+$/, 'an IP address or host name', fallback, sentence);

const folder = (fallback: string, sentence: string) =>
  text(
    fallback,
    /^[^\0]*$/,
    'a folder; relative ones start at the working directory',
    fallback || './models',
    sentence,
  );

/** What ONNX Runtime may compute on. Which of them there are depends on its package and on the machine. */
export const EXECUTION_PROVIDERS = ['cpu', 'cuda', 'tensorrt', 'webgpu', 'coreml', 'dml'] as const;
export type ExecutionProvider = (typeof EXECUTION_PROVIDERS)[number];

const file = (example: string, sentence: string) =>
  text('', /^[^\0]*$/, 'a file; relative ones start at the working directory', example, sentence);

const flag = (fallback: boolean, sentence: string) =>
  z
    .boolean()
    .default(fallback)
    .register(docs, {
      kind: 'boolean',
      sentence,
      allowed: 'true or false',
      example: String(fallback),
      fallback: String(fallback),
    });

const oneOf = <const T extends readonly [string, ...string[]]>(
  values: T,
  fallback: T[number],
  sentence: string,
) =>
  z
    .enum(values)
    .default(fallback as never)
    .register(docs, {
      kind: 'enum',
      sentence,
      allowed: `one of ${values.join(', ')}`,
      example: fallback,
      fallback,
    });

const autoWhole = (min: number, max: number, meaning: string, sentence: string) =>
  z
    .union([z.literal('auto'), z.number().int().min(min).max(max)])
    .default('auto')
    .register(docs, {
      kind: 'auto-number',
      sentence,
      allowed: `auto (${meaning}), or a whole number from ${min} to ${max}`,
      example: 'auto',
      fallback: 'auto',
    });

const secret = (sentence: string, min = 16) =>
  z
    .string()
    .min(min)
    .max(256)
    .optional()
    .register(docs, {
      kind: 'string',
      sentence,
      allowed: `a secret of ${min} to 256 characters, from the environment or from the file named by the setting with _file behind its name`,
      example: '(made by: openssl rand -hex 24)',
      fallback: '(none)',
      secret: true,
    });

const secretFile = (sentence: string) =>
  text('', /^[^\0]*$/, 'a file that only its owner can read (mode 0600)', '/etc/toonfleet/secret', sentence);

/** An http(s) origin without a path, a query or credentials: what an upstream or an agent is reached by. */
export const origin = z
  .string()
  .transform((value, context) => {
    const url = URL.canParse(value) ? new URL(value) : undefined;
    const plain = url && /^https?:$/.test(url.protocol) && !url.username && !url.search && !url.hash;
    if (url && plain && (url.pathname === '/' || url.pathname === '')) return url.origin;
    context.addIssue({ code: 'custom', message: 'not an origin' });
    return z.NEVER;
  })
  .register(docs, {
    kind: 'string',
    sentence: 'Where it is reached.',
    allowed: 'http://HOST:PORT without a path',
    example: 'http://10.0.0.11:8001',
    fallback: '(needed)',
  });

/** An origin as browsers send it, in its one spelling; `https://*.example.com` is every name below that domain. */
const pageOrigin = z.string().transform((value, context) => {
  const text = value.trim().toLowerCase().replace(/\/$/, '');
  if (text === '*') return text;
  const [, scheme = '', wildcard = '', rest = ''] =
    /^([a-z][a-z0-9+.-]*):\/\/(\*\.)?((?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?)$/.exec(text) ?? [];
  // A browser leaves out the port that goes without saying.
  const usual = { http: /:80$/, https: /:443$/ }[scheme];
  if (rest !== '') return `${scheme}://${wildcard}${usual ? rest.replace(usual, '') : rest}`;
  context.addIssue({ code: 'custom', message: 'not an origin' });
  return z.NEVER;
});

const network = z.string().trim().refine(isNetwork);

/** What one API key may do. */
const apiKey = z.strictObject({
  name: z.string().regex(/^[a-z0-9][a-z0-9._-]{0,39}$/),
  sha256: z
    .string()
    .regex(/^[0-9a-fA-F]{64}$/)
    .transform((hex) => hex.toLowerCase()),
  /** Without it, the key has the rate of every client. */
  requests: z.number().int().min(0).max(1_000_000).optional(),
  per: duration('1m', '1s', '24h', 'The time in which a key may send its requests.'),
  burst: z.number().int().min(0).max(1_000_000).default(0),
  /** Without it, the key has as many places as every client. */
  concurrent: z.number().int().min(0).max(100_000).optional(),
  priority: z.enum(['interactive', 'batch']).default('interactive'),
});

const cron = z.string().refine(isCron);

/** A time of the day, week or year in which other bounds hold. */
const lowPeak = z
  .strictObject({
    from: cron,
    to: cron,
    min: z.number().int().min(1).max(256).default(1),
    max: z.number().int().min(1).max(256).default(1),
  })
  .refine(({ from, to, min, max }) => from !== to && min <= max);

const percent = (fallback: number, min: number, sentence: string) => whole(fallback, min, 100, sentence);

const program = (sentence: string, example: string) =>
  z
    .array(z.string().min(1).max(4096))
    .max(100)
    .default([])
    .refine(([program]) => program === undefined || program.startsWith('/'))
    .register(docs, {
      kind: 'list',
      sentence,
      allowed: 'a list of words: the absolute path of a program, and its arguments',
      example,
      fallback: '[]',
    });

const room = <T extends z.ZodRawShape>(shape: T) => z.strictObject(shape).prefault({} as never);

export const settingsSchema = z.strictObject({
  data_dir: folder(
    '.toonfleet',
    'Where this machine keeps its PM2 home, stored results and uploads in passing.',
  ),
  log_level: oneOf(
    ['debug', 'info', 'warn', 'error', 'silent'],
    'info',
    'The least severe line that is logged.',
  ),
  logs: room({
    turn_at: size(
      '64MiB',
      '0B',
      '100GiB',
      'Once an hour the agent turns a log that has grown beyond this into FILE.log.1; 0B leaves the logs to logrotate.',
    ),
  }),
  limits: room({
    upload: size('20MiB', '1KiB', '200MiB', 'The largest picture that may be sent, as multipart or raw.'),
    json: size('30MiB', '1KiB', '300MiB', 'The largest JSON body; base64 makes a picture a third larger.'),
    pixels: whole(50_000_000, 256, 268_000_000, 'The most pixels that a picture may have when it comes in.'),
    max_side: whole(
      1024,
      16,
      4096,
      'The largest longest side of an answer, in px; also what max_side may ask for.',
    ),
  }),
  node: room({
    name: text(
      '',
      /^([a-z0-9][a-z0-9-]{0,38})?$/,
      'lower-case letters, digits and dashes, at most 39 characters',
      'vm-1',
      'The name of this VM in rosters, headers and result ids; empty takes the host name.',
    ),
    zone: text(
      'default',
      /^[A-Za-z0-9._-]{1,40}$/,
      'letters, digits, dots and dashes',
      'zone-a',
      'The zone of this VM.',
    ),
    preemptible: flag(false, 'True for a VM that its provider may take away at any time.'),
    key: secret(
      'Shared by balancers, agents and workers: with it set, workers and agents serve only who sends it.',
    ),
    key_file: secretFile('A file that holds node.key.'),
  }),
  balancer: room({
    host: host('0.0.0.0', 'The address that clients reach.'),
    port: port(8080, 'The public port.'),
    admin_host: host('127.0.0.1', 'The address of the admin port.'),
    admin_port: port(8081, 'The port of /metrics, /internal/stats and the admin API.'),
    admin_token: secret('What callers of /admin/* on the admin port must send as a bearer token.'),
    admin_token_file: secretFile('A file that holds balancer.admin_token.'),
    deadline: duration(
      '60s',
      '100ms',
      '10m',
      'How long a client is worth waiting for when it sends no X-Deadline-Ms.',
    ),
    queue_length: whole(1000, 0, 100_000, 'How many pictures may wait for a slot; more are refused at once.'),
    order: oneOf(
      ['cost', 'fifo', 'lifo-overload'],
      'cost',
      'Who waits is served in this order: cost lets small pictures pass large ones within reason, fifo keeps the order of arrival, lifo-overload turns it around while the oldest waits longer than overload_wait.',
    ),
    overload_wait: duration(
      '1s',
      '10ms',
      '1m',
      'With order lifo-overload: how long the oldest may wait before the newest are served first.',
    ),
    upload_timeout: duration('60s', '1s', '10m', 'How long one upload may take.'),
    upload_min_rate: size('1KiB', '0B', '10MiB', 'Bytes a second below which an upload is cut, after 5 s.'),
    buffer_budget: size(
      '512MiB',
      '16MiB',
      '64GiB',
      'Memory for all uploads and answers in passing; beyond it new uploads go to disk.',
    ),
    spill_budget: size(
      '2GiB',
      '0B',
      '1000GiB',
      'Disk for uploads in passing, in data_dir/uploads, when buffer_budget is full; beyond it they are refused.',
    ),
    rate_limit: room({
      requests: whole(
        0,
        0,
        1_000_000,
        'How many pictures one client (an address, or an API key without limits of its own) may send in the time of per; 0 sets no such limit.',
      ),
      per: duration('1m', '1s', '24h', 'The time in which a client may send requests pictures.'),
      burst: whole(0, 0, 1_000_000, 'How many of them it may send at once; 0 is as many as requests.'),
      concurrent: whole(
        0,
        0,
        100_000,
        'How many pictures of one client may be under way at the same time; 0 sets no such limit.',
      ),
      ipv6_prefix: whole(
        64,
        32,
        128,
        'IPv6 addresses with so many equal bits in front are one client: a household has 2^64 of them.',
      ),
      clients: whole(
        50_000,
        100,
        1_000_000,
        'How many addresses are remembered at once, at about 500 bytes each; while all of them are in use, newcomers share the limits of their network.',
      ),
      total: room({
        requests: whole(
          0,
          0,
          10_000_000,
          'How many pictures all clients together may send in the time of per; 0 sets no such limit.',
        ),
        per: duration('1m', '1s', '24h', 'The time in which all clients may send requests pictures.'),
        burst: whole(0, 0, 10_000_000, 'How many of them they may send at once; 0 is as many as requests.'),
        concurrent: whole(
          0,
          0,
          1_000_000,
          'How many pictures of all clients may be under way at the same time; 0 sets no such limit.',
        ),
      }),
    }),
    trusted_proxies: z.array(network).max(1000).default([]).register(docs, {
      kind: 'list',
      sentence:
        'Whose word on the client address counts: proxies in front of the balancer. Nobody is trusted unasked, loopback neither.',
      allowed: 'a list of addresses and CIDRs; not /0, which is everybody',
      example: '["10.0.0.0/8", "2001:db8::5"]',
      fallback: '[]',
    }),
    forwarded_header: oneOf(
      ['x-forwarded-for', 'forwarded'],
      'x-forwarded-for',
      'The header in which the trusted proxies tell the client address; the other one is never read.',
    ),
    api_keys: z.array(apiKey).max(1000).default([]).register(docs, {
      kind: 'list',
      sentence:
        'The keys of clients, by their hashes (made by: toonfleet keys make NAME), each with limits and a priority of its own.',
      allowed:
        'a list of {name: lower-case letters, digits, ".", "_" and "-"; sha256: 64 hex digits; and if wanted requests, per, burst and concurrent as in rate_limit, priority: interactive or batch}',
      example: '[{"name": "shop", "sha256": "(64 hex digits)", "requests": 600, "per": "1m"}]',
      fallback: '[]',
      hidden: true,
    }),
    api_keys_required: flag(
      true,
      'With api_keys: whether pictures without a key are refused; false lets them in under rate_limit.',
    ),
    cors: z.array(pageOrigin).max(1000).default([]).register(docs, {
      kind: 'list',
      sentence: 'Origins of the web pages elsewhere that may call from a browser; [] is none.',
      allowed:
        'a list of origins (scheme://host[:port], https://*.example.com for every name below it), or "*"',
      example: '["https://app.example.com"]',
      fallback: '[]',
    }),
    check_interval: duration('500ms', '50ms', '1m', 'How often each agent and worker is checked.'),
    check_timeout: duration('500ms', '50ms', '1m', 'How long a check may take before it counts as failed.'),
    rise: whole(2, 1, 10, 'Passing checks in a row that bring an upstream back.'),
    fall: whole(2, 1, 10, 'Failed checks in a row that eject an upstream.'),
    min_available: whole(
      1,
      0,
      1000,
      'How many nodes must stay in service when an operator drains or removes one.',
    ),
    drain_grace: duration(
      '5s',
      '0s',
      '1m',
      'How long a leaving balancer keeps idle keep-alive connections open.',
    ),
    tls: room({
      port: port(8443, 'The public port for HTTPS; it opens when cert_file is set.'),
      cert_file: file(
        '/etc/toonfleet/fullchain.pem',
        'The certificate with its chain (PEM); empty leaves TLS off. A renewed file is taken up within seconds, without a lost connection.',
      ),
      key_file: file(
        '/etc/toonfleet/privkey.pem',
        'Its private key (PEM), which other users of the machine must not be able to read.',
      ),
      redirect: flag(
        false,
        'True to send clients of the plain port to HTTPS; checks, ACME challenges and whatever trusted_proxies bring are answered there still.',
      ),
      public_port: whole(
        0,
        0,
        65535,
        'The HTTPS port as clients see it, where a router passes 443 on to port; 0 is port itself.',
      ),
      hsts: duration(
        '0s',
        '0s',
        '730d',
        'How long browsers that came by HTTPS shall come by nothing else (Strict-Transport-Security); 0s does not say.',
      ),
      acme_dir: folder(
        '',
        'The webroot of certbot or lego, whose challenges the plain port answers; empty answers none. With it set, the first certificate may come after the start.',
      ),
    }),
    cache: room({
      enabled: flag(
        false,
        'Whether drawn pictures are kept and given again for the same photo; also written as balancer.cache: true.',
      ),
      size: size('256MiB', '1MiB', '64GiB', 'Memory for kept pictures, beside buffer_budget.'),
      ttl: duration('24h', '1s', '30d', 'How long a picture is kept.'),
      redis_url: text(
        '',
        /^(rediss?:\/\/([^\s/:@?#]+@)?([0-9a-zA-Z._-]+|\[[0-9a-fA-F:.]+\])(:\d{1,5})?(\/\d{1,4})?)?$/,
        'redis://[USER@]HOST:PORT[/DB] without a password, rediss:// for TLS, or nothing',
        'redis://10.0.0.5:6379/0',
        'A Redis in which balancers share kept pictures; empty keeps them in memory only.',
      ),
      redis_password: secret('The password of that Redis.', 1),
      redis_password_file: secretFile('A file that holds balancer.cache.redis_password.'),
      redis_timeout: duration(
        '100ms',
        '1ms',
        '5s',
        'How long a picture waits for an answer of that Redis before it is drawn.',
      ),
    }),
  }),
  nodes: z
    .array(
      z.strictObject({
        agent: origin,
        ssh: z
          .string()
          .regex(/^([a-z_][a-z0-9_-]{0,31}@)?([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?$/)
          .optional(),
      }),
    )
    .default([])
    .register(docs, {
      kind: 'list',
      sentence: "The fleet: each node's agent. With neither nodes nor upstreams, the agent of this machine.",
      allowed:
        "a list of {agent: http://HOST:PORT, ssh: [USER@]HOST[:PORT]}; ssh is how a rollout gets there when it is not the agent's host",
      example: '[{"agent": "http://10.0.0.11:8001"}]',
      fallback: '[]',
    }),
  upstreams: z
    .array(
      z.strictObject({
        url: origin,
        slots: z.number().int().min(1).max(1000).default(1),
        release: z.string().min(1).max(64).optional(),
      }),
    )
    .default([])
    .register(docs, {
      kind: 'list',
      sentence: 'Workers that no agent speaks for.',
      allowed: 'a list of {url: http://HOST:PORT, slots: 1-1000, release: NAME}, the last two as wished',
      example: '[{"url": "http://10.0.0.12:8100", "slots": 1}]',
      fallback: '[]',
    }),
  worker: room({
    host: host('127.0.0.1', 'The address of the worker ports; on a fleet, the private address of the VM.'),
    count: autoWhole(
      1,
      256,
      'one for each core that this process may use, or each device of models.execution_providers',
      'How many workers run on this VM.',
    ),
    shared_port: port(8000, 'The port that reaches any worker of this VM.'),
    port_first: whole(8100, 1, 65535, 'The first of the ports that the workers share out among themselves.'),
    port_last: whole(
      8199,
      1,
      65535,
      'The last of these ports; a reload needs twice as many as there are workers.',
    ),
    queue_length: whole(16, 0, 1000, 'How many direct requests (nginx, curl) may wait in one worker.'),
    drain_grace: duration(
      '5s',
      '0s',
      '1m',
      'How long a leaving worker keeps idle keep-alive connections of the shared port open.',
    ),
    provenance: oneOf(
      ['off', 'exif', 'xmp'],
      'off',
      'Whether an answer says what drew it (style, model and its SHA-256), and as what kind of metadata.',
    ),
    max_requests: whole(
      0,
      0,
      1_000_000_000,
      'After so many pictures a worker drains and gives way to a new process, one worker of a VM at a time; 0 is never.',
    ),
    max_memory: size(
      '2GiB',
      '0B',
      '1000GiB',
      'A worker whose resident memory has grown to this drains and gives way to a new process in the same manner; 0B is never.',
    ),
    scale: room({
      enabled: flag(
        false,
        'Whether the agent gives its VM as many workers as the signals below ask for; worker.count is then what it starts with.',
      ),
      min: whole(1, 1, 256, 'The fewest workers that scaling leaves.'),
      max: autoWhole(
        1,
        256,
        'one for each core that this process may use',
        'The most workers that scaling, or toonfleet scale N, may start; mind the memory of each.',
      ),
      cpu: percent(
        70,
        0,
        'How much of its core each worker should keep busy, in percent of CPU time; 0 does not look at it.',
      ),
      queue_length: whole(
        50,
        0,
        100_000,
        'How many pictures may wait in the balancers; 0 does not look at it, as it has to be where nginx is the front.',
      ),
      mean_response: duration(
        '30s',
        '0s',
        '10m',
        'What a picture may take on average, from its first byte to its answer; 0s does not look at it.',
      ),
      queue_wait: duration(
        '0s',
        '0s',
        '10m',
        'How long pictures may wait for a slot on average; 0s does not look at it.',
      ),
      p95: duration('0s', '0s', '10m', 'What 95 of 100 pictures may take at most; 0s does not look at it.'),
      tolerance: percent(
        10,
        0,
        'How far a signal may be from its target, in percent, before anything is done.',
      ),
      interval: duration(
        '15s',
        '1s',
        '10m',
        'How often it is judged, and over how long CPU time is measured.',
      ),
      up_after: duration(
        '0s',
        '0s',
        '1h',
        'More workers come only when they were asked for all this time; the lowest number counts.',
      ),
      down_after: duration(
        '5m',
        '0s',
        '24h',
        'Workers leave only when they were not asked for all this time; the highest number counts.',
      ),
      time_zone: text(
        'UTC',
        /^[A-Za-z0-9+_/-]{1,60}$/,
        'a time zone of the IANA database',
        'Asia/Shanghai',
        'The time zone of low_peak.',
      ).refine(isTimeZone),
      low_peak: z.array(lowPeak).max(50).default([]).register(docs, {
        kind: 'list',
        sentence:
          'Times in which other bounds hold than min and max; of several at once the first one counts.',
        allowed:
          'a list of {from: CRON, to: CRON, min: 1-256, max: 1-256}; CRON has five fields (minute, hour, day, month, weekday) of numbers or names, max is not below min, and from and to differ',
        example: '[{"from": "0 1 * * *", "to": "0 6 * * *", "min": 1, "max": 1}]',
        fallback: '[]',
      }),
    }),
  }),
  autoscale: room({
    wake: program(
      'What starts a VM, for toonfleet autoscale: it is told which in its environment; empty never wakes one.',
      '["/etc/toonfleet/vm", "start"]',
    ),
    park: program(
      'What stops a VM that has been drained, in the same manner; empty never parks one.',
      '["/etc/toonfleet/vm", "stop"]',
    ),
    hook_timeout: duration('5m', '100ms', '1h', 'How long either may take before it is killed.'),
    ready_within: duration(
      '5m',
      '1s',
      '1h',
      'How long a VM that was woken may take until it draws; then it counts as failed.',
    ),
    drain_within: duration(
      '2m',
      '0s',
      '10m',
      'How long a VM may take to finish what it has before it is parked; then it works on.',
    ),
    cool_down: duration('5m', '0s', '24h', 'The pause after each move, also after one that failed.'),
    interval: duration('15s', '1s', '10m', 'How often the fleet is looked at.'),
    min: whole(1, 1, 1000, 'The fewest nodes that stay in service; balancer.min_available holds too.'),
    nodes: z
      .array(z.string().regex(/^[A-Za-z0-9[][A-Za-z0-9.:_[\]-]{0,99}$/))
      .max(1000)
      .default([])
      .register(docs, {
        kind: 'list',
        sentence:
          'The nodes that may be parked and woken; [] is all, and then only those are woken that were parked here.',
        allowed: 'a list of names, or HOST:PORT of agents',
        example: '["vm-3", "vm-4"]',
        fallback: '[]',
      }),
    spare: oneOf(
      ['none', 'node', 'zone'],
      'none',
      'What a park has to leave enough without: node is the largest node of each zone, zone the largest zone.',
    ),
    slots: percent(70, 0, 'How many of all slots should be taken, in percent; 0 does not look at it.'),
    queue_length: whole(50, 0, 100_000, 'How many pictures may wait in the balancer; 0 does not look at it.'),
    mean_response: duration(
      '30s',
      '0s',
      '10m',
      'What a picture may take on average; 0s does not look at it.',
    ),
    queue_wait: duration('0s', '0s', '10m', 'How long pictures may wait for a slot; 0s does not look at it.'),
    p95: duration('0s', '0s', '10m', 'What 95 of 100 pictures may take at most; 0s does not look at it.'),
    tolerance: percent(
      10,
      0,
      'How far a signal may be from its target, in percent, before anything is done.',
    ),
    up_after: duration('0s', '0s', '1h', 'A VM is woken only when it was asked for all this time.'),
    down_after: duration('10m', '0s', '24h', 'A VM is parked only when it was not asked for all this time.'),
  }),
  nginx: room({
    servers: z
      .array(z.string().regex(/^([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}$/))
      .default([])
      .register(docs, {
        kind: 'list',
        sentence:
          "What nginx balances, when it is not worker.shared_port on each agent's host: nodes with another port or address.",
        allowed: 'a list of HOST:PORT',
        example: '["10.0.0.11:8000", "10.0.0.12:9000"]',
        fallback: '[]',
      }),
    dir: folder('/var/lib/nginx', 'Where nginx keeps its caches and uploads in passing.'),
    log_dir: folder('/var/log/nginx', 'Where nginx writes toonfleet-access.log, a JSON line a request.'),
  }),
  rollout: room({
    user: text(
      '',
      /^[a-z_][a-z0-9_-]{0,31}$|^$/,
      "a user name; empty is ssh's own choice",
      'deploy',
      'Who rollouts are on the nodes, by ssh; needs sudo there unless it is root or supervisor is pm2.',
    ),
    port: whole(22, 1, 65535, 'The port of ssh on the nodes.'),
    key: file('/home/deploy/.ssh/id_ed25519', 'The private key for ssh; empty leaves the choice to ssh.'),
    known_hosts: file(
      '/etc/toonfleet/known_hosts',
      "The nodes' host keys; empty is ssh's own file. A node that is new there is taken at its word once.",
    ),
    root: text(
      '/opt/toonfleet',
      /^\/[A-Za-z0-9._/-]{1,200}$/,
      'an absolute path of letters, digits, dots and dashes',
      '/opt/toonfleet',
      'The folder of the releases on the nodes; what runs is its link current.',
    ),
    config: text(
      '/etc/toonfleet/toonfleet.yaml',
      /^\/[A-Za-z0-9._/-]{1,200}$/,
      'an absolute path of letters, digits, dots and dashes',
      '/etc/toonfleet/toonfleet.yaml',
      "Each node's own settings, on the node.",
    ),
    node_program: text(
      'node',
      /^[A-Za-z0-9._/-]{1,200}$/,
      'a name or an absolute path',
      '/usr/bin/node',
      "Node's program on the nodes.",
    ),
    supervisor: oneOf(
      ['systemd', 'pm2'],
      'systemd',
      'Who keeps toonfleet on the nodes: systemd restarts the unit toonfleet-node; pm2 has toonfleet start --detach with PM2 alone.',
    ),
    keep: whole(
      3,
      2,
      100,
      'How many releases a node keeps at least; the current one and the one before are never removed.',
    ),
    drain_within: duration(
      '2m',
      '1s',
      '10m',
      'How long a node may take to finish what it has before its release is changed.',
    ),
    ready_within: duration(
      '2m',
      '5s',
      '10m',
      'How long a node may take to be ready and right with another release; then it is put back.',
    ),
    bake: duration(
      '30s',
      '0s',
      '10m',
      'How long a node draws with its new release before the next node gets it.',
    ),
    bake_errors: whole(2, 0, 100, 'The share of its pictures that may fail in this time, percent.'),
    bake_slower: whole(
      200,
      100,
      10_000,
      'How long its pictures may take, percent of what they take on the other nodes.',
    ),
    lock_age: duration(
      '1h',
      '1m',
      '24h',
      'When a lock of a rollout from another machine counts as left behind; on the same machine its process tells.',
    ),
  }),
  keepalived: room({
    interface: text(
      '',
      /^[A-Za-z0-9._@-]{0,15}$/,
      'the name of a network interface',
      'eth0',
      'The interface that gets the address which two balancers share.',
    ),
    address: text(
      '',
      /^([0-9a-fA-F.:]+\/\d{1,3})?$/,
      'an address with its prefix length',
      '10.0.0.100/24',
      'That address.',
    ),
    source: text(
      '',
      /^[0-9a-fA-F.:]*$/,
      'an IP address',
      '10.0.0.10',
      "This machine's own address, from which it tells the others that it lives.",
    ),
    peers: z
      .array(z.string().regex(/^[0-9a-fA-F.:]+$/))
      .default([])
      .register(docs, {
        kind: 'list',
        sentence: "The other balancers' own addresses.",
        allowed: 'a list of IP addresses',
        example: '["10.0.0.20"]',
        fallback: '[]',
      }),
    priority: whole(
      100,
      1,
      254,
      'Who has more gets the address when several live; each a figure of its own.',
    ),
    router_id: whole(
      51,
      1,
      255,
      'The number of this group, the same for all in it and for nobody else in the network.',
    ),
    advert_interval: duration(
      '300ms',
      '50ms',
      '10s',
      'How often the one that has the address says so; after three times as long in silence another one takes it.',
    ),
    preempt_delay: duration(
      '0s',
      '0s',
      '1000s',
      'How long one of higher priority lives before it takes the address back; 0s leaves it where it is.',
    ),
    notify: text(
      '',
      /^(\/[^"$\s]*)?$/,
      'an absolute path without blanks',
      '/etc/toonfleet/move-address',
      'A program that is told of every change, such as one that moves the address in a cloud; owned by root, run as keepalived says.',
    ),
  }),
  agent: room({
    host: host('127.0.0.1', 'The address of the agent; on a fleet, the private address of the VM.'),
    port: port(8001, 'The port of the agent.'),
  }),
  models: room({
    dir: folder('', 'Where added models live; empty is models/ in data_dir.'),
    default_style: text(
      'meadow',
      /^[a-z0-9][a-z0-9_-]{0,63}$/,
      'the id of a style',
      'sky',
      'The style of a request that names none.',
    ),
    lighter_style: text(
      '',
      /^([a-z0-9][a-z0-9_-]{0,63})?$/,
      'the id of a style',
      'meadow',
      'What effort=auto draws when the wanted style cannot be ready before the deadline in any size; empty: nothing else.',
    ),
    faster: flag(
      true,
      'Draw added models with graphs that are rewritten for this CPU and draw the same to the last rounding, where that is faster.',
    ),
    execution_providers: z
      .array(z.enum(EXECUTION_PROVIDERS))
      .min(1)
      .default(['cpu'])
      .register(docs, {
        kind: 'list',
        sentence:
          "What ONNX Runtime computes on, the first that can do a step taking it; a model's manifest may name others. With worker.count auto there is one worker for each device of the first.",
        allowed: `a list of ${EXECUTION_PROVIDERS.join(', ')}, as far as the installed onnxruntime-node has them`,
        example: '["cuda", "cpu"]',
        fallback: '["cpu"]',
      }),
    mirrors: z
      .array(z.string().regex(/^https?:\/\/[^\s?#]+$/))
      .default([])
      .register(docs, {
        kind: 'list',
        sentence:
          'Where models pull looks before the published place, which is kept as MIRROR/HOST/PATH of its address.',
        allowed: 'a list of http(s) addresses',
        example: '["http://mirror.lan/models"]',
        fallback: '[]',
      }),
    proxy: text(
      '',
      /^(http:\/\/[^\s/]+\/?)?$/,
      'http://[USER:PASSWORD@]HOST:PORT',
      'http://proxy.lan:3128',
      'The proxy that models pull goes through; empty takes HTTPS_PROXY of the environment, if any.',
    ),
    load: z
      .array(z.string().regex(/^[a-z0-9][a-z0-9._-]{0,63}$/))
      .default([])
      .register(docs, {
        kind: 'list',
        sentence: 'Names of the models that each worker loads; empty loads all that are installed.',
        allowed: 'a list of model names',
        example: '["meadow", "sky"]',
        fallback: '[] (all)',
      }),
  }),
  alerts: room({
    job: text(
      'animegan',
      /^[a-zA-Z_][a-zA-Z0-9_-]{0,39}$/,
      'letters, digits, dashes and underscores',
      'animegan',
      'The job label of everything that Prometheus reads from toonfleet, as in up{job="animegan"}.',
    ),
    scrape_interval: duration('15s', '1s', '1m', 'How often Prometheus reads each balancer and each node.'),
    balancers: z
      .array(z.string().regex(/^([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}$/))
      .default([])
      .register(docs, {
        kind: 'list',
        sentence: "The balancers' admin ports, where Prometheus reads them; empty is this machine's own.",
        allowed: 'a list of HOST:PORT',
        example: '["10.0.0.10:8081", "10.0.0.20:8081"]',
        fallback: '[]',
      }),
    alertmanager: text(
      '127.0.0.1:9093',
      /^([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}$/,
      'HOST:PORT',
      '127.0.0.1:9093',
      'Where Prometheus finds Alertmanager.',
    ),
    runbook: text(
      'docs/runbook.md',
      /^[^\s"#]+$/,
      'a path or an address',
      'https://wiki.example.com/toonfleet/runbook',
      'Where the runbook lies; every alert names it, with its own section behind a #.',
    ),
    success: whole(95, 1, 100, 'The share of good answers (%) below which an alert fires after 5 minutes.'),
    p95: duration('2s', '10ms', '10m', 'The 95th percentile of answers above which an alert fires.'),
    queue: whole(50, 1, 100_000, 'How many pictures may wait for 5 minutes before an alert fires.'),
    memory: whole(90, 1, 100, "The share of a VM's memory (%) above which an alert fires and the hook runs."),
    cpu: whole(85, 1, 100, "The share of a VM's CPU (%) above which an alert fires after 10 minutes."),
    disk: whole(10, 1, 99, 'The free share of the disk of data_dir (%) below which an alert fires.'),
    certificate: duration('14d', '1h', '365d', 'How long a certificate must still be good.'),
    backup: duration('36h', '1h', '60d', 'How old the last backup of a machine may be.'),
    down: duration(
      '1m',
      '1s',
      '1h',
      'How long a node or a balancer must be silent before it counts as down.',
    ),
    slo: text(
      '99.9',
      /^\d{2}(\.\d{1,3})?$/,
      'a percentage with two digits in front, such as 99 or 99.95',
      '99.9',
      'The share of good answers (%) that is promised over 30 days; alerts fire when its error budget burns too fast.',
    ),
    relay: room({
      host: host('127.0.0.1', 'The address of the alert relay.'),
      port: port(8083, 'The port of the alert relay.'),
      token: secret('What Alertmanager must send to the relay as a bearer token.'),
      token_file: secretFile('A file that holds alerts.relay.token.'),
      wecom_url: text(
        'https://qyapi.weixin.qq.com/cgi-bin/webhook/send',
        /^https?:\/\/[^\s?#]+$/,
        'an http(s) address without a query',
        'https://qyapi.weixin.qq.com/cgi-bin/webhook/send',
        "WeCom's robots.",
      ),
      wecom_key: secret('The key of the WeCom group robot that tells the team.', 8),
      wecom_key_file: secretFile('A file that holds alerts.relay.wecom_key.'),
      hook: z.array(z.string().min(1).max(1000)).max(50).default([]).register(docs, {
        kind: 'list',
        sentence:
          "What is run when a VM's memory is short: a program and its arguments, the alert in its environment and on its stdin; empty runs nothing.",
        allowed: 'a list: an absolute path, then arguments',
        example: '["/etc/toonfleet/scale-out", "--add", "1"]',
        fallback: '[]',
      }),
      hook_timeout: duration('1m', '100ms', '1h', 'How long the hook may take before it is killed.'),
      hook_pause: duration('5m', '0s', '24h', 'How long after a hook the next one may run.'),
      sms: room({
        provider: oneOf(
          ['none', 'aliyun', 'tencent', 'http'],
          'none',
          'Who sends short messages for critical alerts: Aliyun, Tencent Cloud, or any gateway that takes {phones, text} as JSON.',
        ),
        url: text(
          '',
          /^(https?:\/\/[^\s?#]+)?$/,
          'an http(s) address without a query',
          'https://sms.example.com/send',
          'The gateway; needed for http, and empty takes the provider’s own.',
        ),
        phones: z
          .array(z.string().regex(/^\+?\d{5,15}$/))
          .max(20)
          .default([])
          .register(docs, {
            kind: 'list',
            sentence: 'Who gets short messages.',
            allowed: 'a list of phone numbers; for Tencent with + and the country',
            example: '["+8613800000000"]',
            fallback: '[]',
            hidden: true,
          }),
        key_id: text(
          '',
          /^[^\s]{0,128}$/,
          'the id of an access key',
          'LTAI…',
          'The access key of the provider.',
        ),
        key_secret: secret('The secret of that access key; for http, the bearer token.', 8),
        key_secret_file: secretFile('A file that holds alerts.relay.sms.key_secret.'),
        sign: text(
          '',
          /^[^\n]{0,40}$/,
          'a text',
          'toonfleet',
          'The signature that the provider has approved.',
        ),
        template: text(
          '',
          /^[A-Za-z0-9_-]{0,40}$/,
          'an id',
          'SMS_123456789',
          'The approved template; its one variable is the alert (Aliyun: named alert).',
        ),
        app: text('', /^\d{0,20}$/, 'digits', '1400006666', 'The SmsSdkAppId; Tencent only.'),
        region: text(
          'ap-guangzhou',
          /^[a-z0-9-]{1,40}$/,
          'a region',
          'ap-guangzhou',
          'The region; Tencent only.',
        ),
        characters: whole(35, 6, 500, 'How long the text of a short message may be, as the template allows.'),
        per_hour: whole(20, 1, 1000, 'How many short messages may go out in an hour.'),
      }),
    }),
  }),
  backup: room({
    dir: folder(
      '',
      'Where snapshots lie; empty is backup/ in data_dir. Another disk is better, another place (offsite) best.',
    ),
    calendar: text(
      '*-*-* 03:00:00',
      /^[0-9A-Za-z*:/,.~ -]{1,80}$/,
      "a moment in systemd's words (systemd-analyze calendar)",
      'Mon..Sat 02:30',
      "When the timer of the backup's unit runs it, each machine up to half an hour later.",
    ),
    keep_daily: whole(7, 0, 366, 'Of how many days that have snapshots the last one is kept.'),
    keep_weekly: whole(4, 0, 520, 'Of how many weeks.'),
    keep_monthly: whole(6, 0, 1200, 'Of how many months.'),
    secrets: flag(false, 'Whether files with secrets are copied as well; a snapshot then opens doors.'),
    offsite: oneOf(
      ['none', 'restic', 'rsync'],
      'none',
      'The program that takes each snapshot elsewhere; restic encrypts, rsync does not.',
    ),
    target: text(
      '',
      /^([^-\s\0][^\0\n]*)?$/,
      'a repository of restic, or for rsync a folder, here or as USER@HOST:PATH',
      'backup@10.0.0.9:/srv/toonfleet',
      'Where offsite takes them; without a password in it. Each machine needs a place of its own for rsync.',
    ),
    password: secret(
      "The password of restic's repository; without it nobody reads the snapshots there again.",
      8,
    ),
    password_file: secretFile('A file that holds backup.password.'),
    timeout: duration('6h', '1s', '48h', 'How long one run of restic or rsync may take.'),
  }),
  results: room({
    dir: folder('', 'Where stored results live; empty is results/ in data_dir.'),
    ttl: duration('24h', '1m', '30d', 'How long a stored result is kept.'),
    budget: size(
      '2GiB',
      '1MiB',
      '1000GiB',
      'How much disk stored results may take; beyond it an answer that needs one is 507.',
    ),
  }),
});

/** Groups that may also be written as one value, which then stands for this one of them. */
export const SHORTHANDS: Readonly<Record<string, string>> = { 'balancer.cache': 'balancer.cache.enabled' };

/** All settings, validated, with every default filled in. Durations are ms, sizes bytes. */
export type Settings = z.output<typeof settingsSchema>;

/** One setting as a row of the reference: its dotted name and its description. */
export interface SettingRow extends SettingDoc {
  readonly name: string;
}

/** All settings in the order of this file. */
export function settingRows(schema: z.ZodType = settingsSchema, prefix = ''): SettingRow[] {
  const doc = settingDoc(schema);
  if (doc) return [{ name: prefix, ...doc }];
  const inner = unwrap(schema);
  if (!(inner instanceof z.ZodObject)) return [];
  return Object.entries(inner.shape as Record<string, z.ZodType>).flatMap(([key, child]) =>
    settingRows(child, prefix === '' ? key : `${prefix}.${key}`),
  );
}

/** `balancer.admin_port` → `TOONFLEET_BALANCER__ADMIN_PORT`. */
export function envNameOf(setting: string): string {
  return `TOONFLEET_${setting.toUpperCase().replaceAll('.', '__')}`;
}

/** The schema inside a default, prefault or optional. */
function unwrap(schema: z.ZodType): z.ZodType {
  if (schema instanceof z.ZodPrefault || schema instanceof z.ZodDefault || schema instanceof z.ZodOptional) {
    return unwrap(schema.unwrap() as z.ZodType);
  }
  return schema;
}
