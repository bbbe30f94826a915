import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { loadSettings } from '../../config/load.ts';
import { PACKAGE_ROOT } from '../process/package.ts';
import { fillTemplate } from '../process/template.ts';
import {
  limitsOf,
  type NginxServer,
  nginxServers,
  nginxValues,
  notCarriedOver,
  Unrenderable,
} from './nginx.ts';

const settingsWith = (env: Record<string, string> = {}) => loadSettings({ cwd: '/srv', env });

/** The configuration for settings from the environment. */
function rendered(env: Record<string, string> = {}, servers?: readonly NginxServer[]): string {
  const settings = settingsWith(env);
  const values = nginxValues(
    settings,
    servers ?? nginxServers(settings).servers,
    limitsOf(settings),
    'a test',
  );
  return fillTemplate(readFileSync(join(PACKAGE_ROOT, 'nginx/toonfleet.conf'), 'utf8'), values);
}

const NODES = JSON.stringify([{ agent: 'http://10.0.0.11:8001' }, { agent: 'http://[fd00::12]:8001' }]);

test('the nodes are reached at the shared port of their agents’ hosts', () => {
  const { servers, agents } = nginxServers(
    settingsWith({ TOONFLEET_NODES: NODES, TOONFLEET_WORKER__SHARED_PORT: '9000' }),
  );
  assert.deepEqual(
    servers.map(({ address }) => address),
    ['10.0.0.11:9000', '[fd00::12]:9000'],
  );
  assert.equal(agents.get('[fd00::12]:9000'), 'http://[fd00::12]:8001');
});

test('nginx.servers stands above nodes, and plain upstreams count by their slots', () => {
  const named = nginxServers(
    settingsWith({ TOONFLEET_NODES: NODES, TOONFLEET_NGINX__SERVERS: '["10.0.0.11:8005"]' }),
  );
  assert.deepEqual(named.servers, [{ address: '10.0.0.11:8005', slots: undefined }]);
  assert.equal(named.agents.size, 0);
  const plain = settingsWith({ TOONFLEET_UPSTREAMS: '[{"url":"http://10.0.0.9","slots":3}]' });
  assert.deepEqual(nginxServers(plain).servers, [{ address: '10.0.0.9:80', slots: 3 }]);
});

const cases: {
  name: string;
  env?: Record<string, string>;
  servers?: NginxServer[];
  has: RegExp[];
  not?: RegExp[];
}[] = [
  {
    name: 'pictures are tried elsewhere after errors and timeouts, never after a 503',
    has: [/proxy_next_upstream error timeout non_idempotent;/, /proxy_request_buffering on;/, /least_conn;/],
    not: [/^(?!\s*(#|proxy_cache_use_stale)).*http_503/m],
  },
  {
    name: 'a single node stands twice and is never left alone',
    servers: [{ address: 'a:1', slots: 2 }],
    has: [/server a:1 max_fails=0;\n {4}server a:1 max_fails=0;/],
  },
  {
    name: 'nodes weigh what they have slots',
    servers: [
      { address: 'a:1', slots: 2 },
      { address: 'b:1', slots: 8 },
    ],
    has: [/server a:1 weight=2 max_fails=3 fail_timeout=5s;/, /server b:1 weight=8 /],
  },
  {
    name: 'with one unknown node all weigh the same',
    servers: [
      { address: 'a:1', slots: undefined },
      { address: 'b:1', slots: 8 },
    ],
    has: [/server a:1 max_fails=3/, /server b:1 max_fails=3/],
    not: [/weight=/],
  },
  {
    name: 'without options there is no TLS, no limit and no key',
    has: [/listen 0\.0\.0\.0:8080 /, /proxy_set_header X-Node-Key "";/, /proxy_set_header X-Attempt "";/],
    not: [/ssl_certificate/, /limit_req/, /Strict-Transport/, /acme/, /real_ip/],
  },
  {
    name: 'the limits of uploads are the settings’, with room for a form',
    env: { TOONFLEET_LIMITS__UPLOAD: '1MiB', TOONFLEET_LIMITS__JSON: '2MiB' },
    has: [
      /client_max_body_size 1114112;/,
      /predict\)\/\?\$ \{\n {8}client_max_body_size 2097152;/,
      /\/transform.*\{\n {8}client_max_body_size 2097152;/,
    ],
  },
  {
    name: 'the node key goes to workers',
    env: { TOONFLEET_NODE__KEY: 'a "quoted" key of length' },
    has: [/proxy_set_header X-Node-Key "a \\"quoted\\" key of length";/],
  },
  {
    name: 'limits of a client and of all, on pictures alone',
    env: {
      TOONFLEET_BALANCER__RATE_LIMIT__REQUESTS: '90',
      TOONFLEET_BALANCER__RATE_LIMIT__PER: '30s',
      TOONFLEET_BALANCER__RATE_LIMIT__CONCURRENT: '4',
      TOONFLEET_BALANCER__RATE_LIMIT__TOTAL__REQUESTS: '50',
      TOONFLEET_BALANCER__RATE_LIMIT__TOTAL__PER: '1s',
      TOONFLEET_BALANCER__RATE_LIMIT__TOTAL__BURST: '10',
      TOONFLEET_BALANCER__TRUSTED_PROXIES: '["10.1.0.0/16"]',
    },
    has: [
      /zone=toonfleet_rate:16m rate=180r\/m;/,
      /limit_req zone=toonfleet_rate burst=89 nodelay;/,
      /limit_conn toonfleet_under_way 4;/,
      /zone=toonfleet_rate_total:32k rate=3000r\/m;/,
      /limit_req zone=toonfleet_rate_total burst=9 nodelay;/,
      /limit_req_status 429;/,
      /set_real_ip_from 10\.1\.0\.0\/16;\n {4}real_ip_header x-forwarded-for;\n {4}real_ip_recursive on;/,
      /"~\(\?s\)\^\(\?<toonfleet_network>\.\{8\}\)\.\{8\}\$"/,
    ],
    not: [/location \/ \{[^}]*limit_req/],
  },
  {
    name: 'TLS, redirect, HSTS and challenges',
    env: {
      TOONFLEET_BALANCER__HOST: '::',
      TOONFLEET_BALANCER__TLS__CERT_FILE: 'c.pem',
      TOONFLEET_BALANCER__TLS__KEY_FILE: 'k.pem',
      TOONFLEET_BALANCER__TLS__REDIRECT: 'true',
      TOONFLEET_BALANCER__TLS__PUBLIC_PORT: '443',
      TOONFLEET_BALANCER__TLS__HSTS: '1d',
      TOONFLEET_BALANCER__TRUSTED_PROXIES: '["10.1.0.0/16"]',
      TOONFLEET_BALANCER__TLS__ACME_DIR: 'acme',
    },
    has: [
      /listen \[::\]:8443 ssl /,
      /ssl_certificate "\/srv\/c\.pem";/,
      /return 308 https:\/\/\$host\$request_uri;/,
      /https "max-age=86400";/,
      /geo \$realip_remote_addr \$toonfleet_by_proxy \{\n {4}default "";\n {4}10\.1\.0\.0\/16 proxy-;\n\}/,
      /location \^~ \/\.well-known\/acme-challenge\/ \{\n {8}root "\/srv\/acme";/,
    ],
  },
];
for (const { name, env, servers, has, not = [] } of cases)
  test(name, () => {
    const text = rendered(env, servers);
    for (const pattern of has) assert.match(text, pattern);
    for (const pattern of not) assert.doesNotMatch(text, pattern);
    assert.doesNotMatch(text, /\{\{|undefined/);
  });

const impossible: [name: string, env: Record<string, string>, sentence: RegExp][] = [
  ['a key that nginx would take for a variable', { TOONFLEET_NODE__KEY: 'sixteen $characters' }, /node\.key/],
  [
    'keys that clients must have',
    { TOONFLEET_BALANCER__API_KEYS: JSON.stringify([{ name: 'shop', sha256: 'a'.repeat(64) }]) },
    /api_keys_required: nginx knows no keys/,
  ],
  [
    'a header that nginx cannot read',
    {
      TOONFLEET_BALANCER__TRUSTED_PROXIES: '["10.0.0.1"]',
      TOONFLEET_BALANCER__FORWARDED_HEADER: 'forwarded',
    },
    /forwarded_header/,
  ],
];
for (const [name, env, sentence] of impossible)
  test(`${name} stops the rendering with a sentence`, () => {
    assert.throws(
      () => rendered(env),
      (error) => error instanceof Unrenderable && sentence.test(error.message),
    );
  });

test('what nginx cannot do for the settings is said', () => {
  const settings = settingsWith({
    TOONFLEET_BALANCER__API_KEYS: JSON.stringify([{ name: 'shop', sha256: 'a'.repeat(64) }]),
    TOONFLEET_BALANCER__API_KEYS_REQUIRED: 'false',
    TOONFLEET_BALANCER__CORS: '["https://app.example"]',
  });
  assert.deepEqual(
    notCarriedOver(settings).map((sentence) => sentence.split(':')[0]),
    ['balancer.api_keys', 'balancer.cors'],
  );
});
