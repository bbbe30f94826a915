// What stands in nginx's configuration for these settings. Pure: the template in nginx/ is filled by the command, and the
// nodes' slots are asked by it too.

import { CHALLENGE_PATH, PATHS } from '../../config/contract.ts';
import { ERRORS, type ErrorCode, type ErrorShape, renderError, ToonError } from '../../config/errors.ts';
import type { LoadedSettings } from '../../config/load.ts';
import { hostAndPort } from '../../config/reachable.ts';

/** One entry of nginx's upstream. */
export interface NginxServer {
  /** HOST:PORT of a node's shared port. */
  readonly address: string;
  /** How many slots the node has; undefined when nobody said. */
  readonly slots: number | undefined;
}

/** How much of the pictures one client, or all together, may send; 0 sets no limit. */
export interface NginxLimit {
  /** Pictures in the time of `per`. */
  readonly requests: number;
  /** Ms. */
  readonly per: number;
  /** Pictures at once; 0 is as many as `requests`. */
  readonly burst: number;
  /** Pictures under way at the same time. */
  readonly concurrent: number;
}

/** What the settings say about limits, as far as nginx can keep it. */
export interface NginxLimits {
  readonly client: NginxLimit;
  readonly total: NginxLimit;
  /** So many equal bits make two IPv6 addresses one client. */
  readonly ipv6Prefix: number;
  /** Whose word on the client address counts. */
  readonly trustedProxies: readonly string[];
  readonly forwardedHeader: string;
}

/** The settings ask for what nginx cannot do; the sentence says what. */
export class Unrenderable extends Error {
  override readonly name = 'Unrenderable';
}

/** A multipart form is this much larger than its picture at most; the worker judges the picture itself. */
const FORM_BYTES = 64 * 1024;

/** What these settings say about limits. */
export function limitsOf({ balancer }: Pick<LoadedSettings, 'balancer'>): NginxLimits {
  const { total, ipv6_prefix, ...client } = balancer.rate_limit;
  return {
    client,
    total,
    ipv6Prefix: ipv6_prefix,
    trustedProxies: balancer.trusted_proxies,
    forwardedHeader: balancer.forwarded_header,
  };
}

/** What the balancer would do by these settings and nginx does not, a sentence each. */
export function notCarriedOver({ balancer }: Pick<LoadedSettings, 'balancer'>): string[] {
  const sentences: string[] = [];
  if (balancer.api_keys.length > 0)
    sentences.push(
      'balancer.api_keys: nginx knows no keys, so clients that send one have the limits of their address.',
    );
  if (balancer.cors.length > 0)
    sentences.push('balancer.cors: nginx does not answer for it, so pages elsewhere cannot call.');
  return sentences;
}

/** The nodes' shared ports as the settings tell them: `nginx.servers`, plain upstreams, or the agents' hosts. */
export function nginxServers(settings: Pick<LoadedSettings, 'nginx' | 'nodes' | 'upstreams' | 'worker'>): {
  readonly servers: readonly NginxServer[];
  /** The agent of each server that has one, by its address. */
  readonly agents: ReadonlyMap<string, string>;
} {
  const { nginx, nodes, upstreams, worker } = settings;
  const agents = new Map<string, string>();
  if (nginx.servers.length > 0)
    return { servers: nginx.servers.map((address) => ({ address, slots: undefined })), agents };
  for (const { agent } of nodes) agents.set(`${new URL(agent).hostname}:${worker.shared_port}`, agent);
  const shared = [...agents.keys()].map((address) => ({ address, slots: undefined }));
  const plain = upstreams.map(({ url, slots }) => ({ address: hostAndPort(url), slots }));
  return { servers: [...shared, ...plain], agents };
}

/** The values of nginx/toonfleet.conf. `origin` says in one line where it comes from. */
export function nginxValues(
  settings: Pick<LoadedSettings, 'balancer' | 'limits' | 'node' | 'nginx'>,
  servers: readonly NginxServer[],
  limits: NginxLimits,
  origin: string,
): Record<string, string> {
  const { balancer, nginx, node } = settings;
  const { tls } = balancer;
  if (balancer.api_keys.length > 0 && balancer.api_keys_required)
    throw new Unrenderable(
      'balancer.api_keys_required: nginx knows no keys and would serve everybody; use the balancer, or set balancer.api_keys_required: false',
    );
  const upload = settings.limits.upload + FORM_BYTES;
  const httpsPort = tls.public_port || tls.port;
  return {
    origin,
    servers: serverLines(servers),
    error_bodies: errorBodies(),
    error_pages: errorPages(),
    error_locations: errorLocations(tls.hsts),
    retry_after_s: String(retryAfterSeconds(limits)),
    limit_zones: limitZones(limits),
    picture_locations: pictureLocations(upload, settings.limits.json, limits),
    dir: nginx.dir,
    log_dir: nginx.log_dir,
    listen: `    listen ${bracketed(balancer.host)}:${balancer.port} backlog=1024;`,
    upload_bytes: String(upload),
    body_timeout_s: String(Math.max(1, Math.ceil(balancer.upload_timeout / 1000))),
    node_key: node.key === undefined ? '' : quoted(node.key, 'node.key'),
    real_ip: realIp(limits),
    tls: tls.cert_file === '' ? '' : tlsLines(bracketed(balancer.host), tls),
    hsts: tls.hsts === 0 ? '' : `    ${HSTS_LINE}`,
    hsts_map: tls.hsts === 0 ? '' : hstsMap(tls.hsts),
    redirect_map: tls.redirect ? redirectMap(limits.trustedProxies) : '',
    redirect: tls.redirect
      ? `    if ($toonfleet_to_https) {\n        return 308 https://$host${httpsPort === 443 ? '' : `:${httpsPort}`}$request_uri;\n    }`
      : '',
    acme:
      tls.acme_dir === ''
        ? ''
        : `    location ^~ ${CHALLENGE_PATH}/ {\n        root "${quoted(tls.acme_dir, 'balancer.tls.acme_dir')}";\n    }`,
  };
}

/**
 * One line a node. A node that refuses is left alone for a while, also when only one of its workers has died under several
 * pictures; a single node is never left alone, and stands there twice, since nginx tries a failed picture only on
 * another entry and the shared port gives it to another worker.
 */
function serverLines(servers: readonly NginxServer[]): string {
  const [only] = servers;
  if (servers.length === 1 && only)
    return `    # Twice, so that a picture whose worker died finds another worker of the same node.\n${`    server ${only.address} max_fails=0;\n`.repeat(2).trimEnd()}`;
  const known = servers.every(({ slots }) => slots !== undefined);
  return servers
    .map(
      ({ address, slots = 1 }) =>
        `    server ${address}${known ? ` weight=${slots}` : ''} max_fails=3 fail_timeout=5s;`,
    )
    .join('\n');
}

/** What nginx answers by itself, and which row of the table that is. 494 is its name for headers that are too large. */
const OWN_ERRORS: readonly (readonly [status: number, code: ErrorCode])[] = [
  [400, 'bad_request'],
  [404, 'not_found'],
  [408, 'upload_too_slow'],
  [413, 'upload_too_large'],
  [429, 'rate_limited'],
  [494, 'headers_too_large'],
  [500, 'internal_error'],
  [502, 'upstream_failed'],
  [504, 'deadline_exceeded'],
];
const SHAPES: readonly ErrorShape[] = ['problem', 'status', 'plain'];
const errorPath = (shape: string, status: number) => `/.toonfleet-error/${shape}/${status}`;

function errorBodies(): string {
  return OWN_ERRORS.flatMap(([, code]) => {
    const { status } = ERRORS[code];
    return SHAPES.map((shape) => {
      const { body } = renderError(new ToonError(code), shape, '$toonfleet_request_id');
      return `    ${errorPath(shape, status)} '${body.replaceAll("'", "\\'")}';`;
    });
  }).join('\n');
}

function errorPages(): string {
  return OWN_ERRORS.map(([own, code]) => {
    const { status } = ERRORS[code];
    return `    error_page ${own}${own === status ? '' : ` =${status}`} ${errorPath('$toonfleet_shape', status)};`;
  }).join('\n');
}

/** A type each; `return 200` keeps the status that brought the request here. */
function errorLocations(hsts: number): string {
  return SHAPES.map((shape) => {
    const { headers } = renderError(new ToonError('internal_error'), shape, '');
    return [
      `    location ^~ /.toonfleet-error/${shape}/ {`,
      '        internal;',
      `        default_type '${headers['content-type']}';`,
      '        add_header Cache-Control no-store always;',
      '        add_header X-Request-Id $toonfleet_request_id always;',
      '        add_header Retry-After $toonfleet_retry_after always;',
      ...(hsts === 0 ? [] : [`        ${HSTS_LINE}`]),
      '        return 200 $toonfleet_error;',
      '    }',
    ].join('\n');
  }).join('\n');
}

const isRate = ({ requests }: NginxLimit) => requests > 0;

/** When a client that was refused by its rate may send one more picture, whole seconds. */
function retryAfterSeconds({ client, total }: NginxLimits): number {
  const waits = [client, total].filter(isRate).map(({ requests, per }) => per / requests / 1000);
  return Math.max(1, Math.ceil(Math.max(0, ...waits)));
}

function limitZones({ client, total, ipv6Prefix }: NginxLimits): string {
  const lines: string[] = [];
  if (isRate(client) || client.concurrent > 0) {
    const bytes = Math.ceil(ipv6Prefix / 8);
    lines.push(
      `# A client is an IPv4 address, or the first ${bytes * 8} bits of an IPv6 address.`,
      'map $binary_remote_addr $toonfleet_client {',
      `    "~(?s)^(?<toonfleet_network>.{${bytes}}).{${16 - bytes}}$" $toonfleet_network;`,
      '    default $binary_remote_addr;',
      '}',
    );
  }
  if (isRate(client))
    lines.push(`limit_req_zone $toonfleet_client zone=toonfleet_rate:16m rate=${rateOf(client)};`);
  if (client.concurrent > 0) lines.push('limit_conn_zone $toonfleet_client zone=toonfleet_under_way:16m;');
  if (isRate(total)) lines.push(`limit_req_zone all zone=toonfleet_rate_total:32k rate=${rateOf(total)};`);
  if (total.concurrent > 0) lines.push('limit_conn_zone all zone=toonfleet_under_way_total:32k;');
  return lines.join('\n');
}

/** nginx counts whole requests a minute at the finest. */
const rateOf = ({ requests, per }: NginxLimit) => `${Math.max(1, Math.round((requests * 60_000) / per))}r/m`;

function limitLines({ client, total }: NginxLimits): string[] {
  const lines: string[] = [];
  const rate = (zone: string, { requests, burst }: NginxLimit) => {
    // nginx lets one through and so many more.
    const more = (burst || requests) - 1;
    return `limit_req zone=${zone}${more > 0 ? ` burst=${more} nodelay` : ''};`;
  };
  if (isRate(client)) lines.push(rate('toonfleet_rate', client));
  if (client.concurrent > 0) lines.push(`limit_conn toonfleet_under_way ${client.concurrent};`);
  if (isRate(total)) lines.push(rate('toonfleet_rate_total', total));
  if (total.concurrent > 0) lines.push(`limit_conn toonfleet_under_way_total ${total.concurrent};`);
  return lines.length === 0 ? [] : ['limit_req_status 429;', 'limit_conn_status 429;', ...lines];
}

function pictureLocations(upload: number, json: number, limits: NginxLimits): string {
  const location = (paths: readonly string[], bytes: number) => {
    const lines = [`client_max_body_size ${bytes};`, ...limitLines(limits), 'proxy_pass http://toonfleet;'];
    return `    location ~ ^(${paths.join('|')})/?$ {\n${lines.map((line) => `        ${line}\n`).join('')}    }`;
  };
  const forms = [PATHS.images, PATHS.transform, PATHS.upload, PATHS.apiTransform];
  return [location(forms, Math.max(upload, json)), location([PATHS.predict], json)].join('\n');
}

function realIp({ trustedProxies, forwardedHeader }: NginxLimits): string {
  if (trustedProxies.length === 0) return '';
  if (forwardedHeader !== 'x-forwarded-for')
    throw new Unrenderable(
      `balancer.forwarded_header: nginx cannot read "${forwardedHeader}"; have the proxies send X-Forwarded-For and set x-forwarded-for`,
    );
  const from = trustedProxies.map((network) => `    set_real_ip_from ${network};`);
  return [...from, `    real_ip_header ${forwardedHeader};`, '    real_ip_recursive on;'].join('\n');
}

const redirectMap = (trustedProxies: readonly string[]) =>
  [
    '# Checks, ACME challenges and what trusted proxies bring are answered without TLS too.',
    'geo $realip_remote_addr $toonfleet_by_proxy {',
    '    default "";',
    ...trustedProxies.map((network) => `    ${network} proxy-;`),
    '}',
    'map "$toonfleet_by_proxy$scheme:$uri" $toonfleet_to_https {',
    `    "~^http:(${[PATHS.live, PATHS.ready, PATHS.health, PATHS.kserveLive, PATHS.kserveReady].join('|')})$" "";`,
    `    "~^http:${CHALLENGE_PATH}/" "";`,
    '    "~^http:/\\.toonfleet-error/" "";',
    '    "~^http:" 1;',
    '    default "";',
    '}',
  ].join('\n');

const HSTS_LINE = 'add_header Strict-Transport-Security $toonfleet_hsts always;';

/** RFC 6797: never over plain HTTP. */
const hstsMap = (hsts: number) =>
  `map $scheme $toonfleet_hsts {\n    https "max-age=${Math.floor(hsts / 1000)}";\n    default "";\n}`;

function tlsLines(host: string, { port, cert_file, key_file }: LoadedSettings['balancer']['tls']): string {
  return [
    `    listen ${host}:${port} ssl backlog=1024;`,
    // A new file is taken up by `nginx -s reload`.
    `    ssl_certificate "${quoted(cert_file, 'balancer.tls.cert_file')}";`,
    `    ssl_certificate_key "${quoted(key_file, 'balancer.tls.key_file')}";`,
    '    ssl_protocols TLSv1.2 TLSv1.3;',
    '    ssl_ciphers ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305;',
    '    ssl_prefer_server_ciphers off;',
    '    ssl_session_cache shared:toonfleet_tls:10m;',
    '    ssl_session_timeout 1d;',
    '    ssl_session_tickets off;',
  ].join('\n');
}

/** A host as nginx's listen wants it. */
const bracketed = (host: string) => (host.includes(':') ? `[${host}]` : host);

/** Inside double quotes of nginx's grammar, where "$" begins a variable and nothing takes that from it. */
function quoted(text: string, setting: string): string {
  if (/[$\r\n]/.test(text))
    throw new Unrenderable(
      `${setting}: nginx cannot be told a text with "$" or a line break; choose another one`,
    );
  return text.replace(/[\\"]/g, '\\$&');
}
