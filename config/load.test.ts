import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { loadSettings, nodeNameOf, SettingsError } from './load.ts';
import { envNameOf, settingRows } from './schema.ts';

const folder = () => mkdtempSync(join(tmpdir(), 'toonfleet-config-'));

function faultsOf(yaml: string, env: Record<string, string> = {}): readonly string[] {
  const cwd = folder();
  writeFileSync(join(cwd, 'toonfleet.yaml'), yaml);
  try {
    loadSettings({ cwd, env });
  } catch (error) {
    assert.ok(error instanceof SettingsError, String(error));
    return error.faults;
  }
  return [];
}

test('without a file and an environment every setting has its default', () => {
  const settings = loadSettings({ cwd: folder(), env: {} });
  assert.equal(settings.balancer.port, 8080);
  assert.equal(settings.balancer.deadline, 60_000);
  assert.equal(settings.limits.upload, 20 * 1024 * 1024);
  assert.deepEqual(settings.nodes, [{ agent: 'http://127.0.0.1:8001' }]);
  assert.equal(settings.source, undefined);
});

test('the environment wins over the file, and the file over the default', () => {
  const cwd = folder();
  writeFileSync(join(cwd, 'toonfleet.yaml'), 'balancer: {port: 9000, admin_port: 9001, deadline: 5s}\n');
  const settings = loadSettings({ cwd, env: { TOONFLEET_BALANCER__PORT: '9100' } });
  assert.equal(settings.balancer.port, 9100);
  assert.equal(settings.balancer.admin_port, 9001);
  assert.equal(settings.balancer.deadline, 5000);
});

test('a group with a switch may be written as the switch alone, in the file and in the environment', () => {
  const cacheOf = (yaml: string, env: Record<string, string> = {}) => {
    const cwd = folder();
    writeFileSync(join(cwd, 'toonfleet.yaml'), yaml);
    return loadSettings({ cwd, env }).balancer.cache;
  };
  assert.equal(cacheOf('').enabled, false);
  assert.equal(cacheOf('balancer: {cache: true}').enabled, true);
  assert.equal(cacheOf('balancer: {cache: true}', { TOONFLEET_BALANCER__CACHE: 'false' }).enabled, false);
  const both = cacheOf('balancer: {cache: {size: 1MiB}}', { TOONFLEET_BALANCER__CACHE: 'true' });
  assert.deepEqual([both.enabled, both.size], [true, 1024 ** 2]);
  assert.match(faultsOf('balancer: {cache: yes}').join(), /^balancer\.cache: found "yes"/);
});

test('an address of a Redis carries no password', () => {
  const redis = (url: string) => faultsOf(`balancer: {cache: {redis_url: "${url}"}}`);
  for (const url of ['redis://10.0.0.5:6379', 'rediss://user@cache.example/3', 'redis://[::1]:6379/0', ''])
    assert.deepEqual(redis(url), [], url);
  for (const url of [
    'redis://user:secret@host:6379',
    'http://host',
    'host:6379',
    'redis://host/db',
    'redis://a b',
  ])
    assert.equal(redis(url).length, 1, url);
});

test('lists come from the environment as JSON', () => {
  const env = { TOONFLEET_UPSTREAMS: '[{"url":"http://10.0.0.5:8100/"}]' };
  const settings = loadSettings({ cwd: folder(), env });
  assert.deepEqual(settings.upstreams, [{ url: 'http://10.0.0.5:8100', slots: 1 }]);
  assert.deepEqual(settings.nodes, [], 'plain upstreams stand alone when no node is named');
});

test('a setting keeps its type whichever way it comes', () => {
  const env = {
    TOONFLEET_NODE__NAME: '42',
    TOONFLEET_NODE__PREEMPTIBLE: 'true',
    TOONFLEET_WORKER__COUNT: '3',
  };
  const { node, worker } = loadSettings({ cwd: folder(), env });
  assert.deepEqual([node.name, node.preemptible, worker.count], ['42', true, 3]);
});

test('all faults are told at once, each with its name, what was found, what is allowed and an example', () => {
  const faults = faultsOf(
    'balancer: {port: http, prot: 1}\nlimits: {max_side: 9}\nnodes: [{agent: nowhere}]\n',
  );
  assert.equal(faults.length, 4);
  const port = faults.find((fault) => fault.startsWith('balancer.port:'));
  assert.match(
    port ?? '',
    /found "http"; allowed: a whole number from 0 to 65535; example: balancer\.port: 8080/,
  );
  assert.ok(
    faults.some((fault) =>
      /balancer\.prot: there is no such setting; did you mean balancer\.port\?/.test(fault),
    ),
  );
  assert.ok(
    faults.some((fault) => /limits\.max_side: found 9; allowed: a whole number from 16 to 4096/.test(fault)),
  );
  assert.ok(faults.some((fault) => /nodes\.0\.agent: found "nowhere"/.test(fault)));
});

const contradictions: [name: string, yaml: string, fault: RegExp][] = [
  [
    'a certificate without a key',
    'balancer: {tls: {cert_file: a.pem}}',
    /balancer\.tls\.cert_file: found "a\.pem" without balancer\.tls\.key_file; .* example: balancer\.tls\.key_file: /,
  ],
  [
    'a redirect without a certificate',
    'balancer: {tls: {redirect: true}}',
    /balancer\.tls\.redirect: found true without balancer\.tls\.cert_file/,
  ],
  [
    'HTTPS on the plain port',
    'balancer: {port: 443, tls: {port: 443, cert_file: a, key_file: b}}',
    /balancer\.tls\.port: found 443, which balancer\.port has already/,
  ],
  [
    'two servers on one port',
    'balancer: {port: 9000, admin_port: 9000}',
    /admin_port: found 9000, which balancer\.port has/,
  ],
  [
    'the alert relay on the port of an agent',
    'alerts: {relay: {token_file: /etc/toonfleet/relay.token, port: 8001}}',
    /alerts\.relay\.port: found 8001, which agent\.port has already/,
  ],
  [
    'a port among the worker ports',
    'agent: {port: 8150}',
    /agent\.port: found 8150, which lies among the worker ports/,
  ],
  [
    'worker ports that end before they begin',
    'worker: {port_first: 9000, port_last: 8000}',
    /not below worker\.port_first/,
  ],
  [
    'too few worker ports for a reload',
    'worker: {count: 8, port_first: 9000, port_last: 9010}',
    /at least 9015/,
  ],
  [
    'memory that would come and go by the page',
    'worker: {release_from: 4KiB}',
    /worker\.release_from: found 4KiB; allowed: 0B, or at least 1MiB/,
  ],
  [
    'scaling whose bounds are the wrong way round',
    'worker: {scale: {min: 4, max: 2}}',
    /worker\.scale\.max: found 2; allowed: not below worker\.scale\.min \(4\)/,
  ],
  [
    'scaling to more workers than there are ports for',
    'worker: {scale: {enabled: true, max: 51}}',
    /worker\.scale\.max: found 51; allowed: at most 50.* example: worker\.port_last: 8201/,
  ],
  [
    'a hook that is no absolute path',
    'alerts: {relay: {hook: [scale-out]}}',
    /alerts\.relay\.hook: found "scale-out"; allowed: an absolute path first/,
  ],
  [
    'short messages to nobody',
    'alerts: {relay: {sms: {provider: http, url: "http://a"}}}',
    /alerts\.relay\.sms\.phones: found nothing; allowed: what alerts\.relay\.sms\.provider: http needs/,
  ],
];
for (const [name, yaml, fault] of contradictions) {
  test(`settings that contradict each other are refused: ${name}`, () =>
    assert.match(faultsOf(yaml).join('\n'), fault));
}

test('the port of a relay that nobody uses meets no other', () => {
  assert.deepEqual(faultsOf('alerts: {relay: {port: 8001}}'), []);
});

test('a duration with the wrong unit in mind is caught by its bounds', () => {
  assert.match(faultsOf('balancer: {deadline: 5}').join(), /found 5; allowed: a duration from 100ms to 10m/);
});

test('an environment name that is no setting is a fault with a guess', () => {
  assert.match(
    faultsOf('', { TOONFLEET_BALANCER__PROT: '1' }).join(),
    /did you mean TOONFLEET_BALANCER__PORT\?/,
  );
});

test('a list that is not JSON is a fault', () => {
  assert.match(
    faultsOf('', { TOONFLEET_NODES: 'http://10.0.0.1:8001' }).join(),
    /TOONFLEET_NODES: found .* allowed: JSON/,
  );
});

test('a named settings file that cannot be read is a fault, a missing default file is not', () => {
  assert.throws(
    () => loadSettings({ cwd: folder(), env: {}, file: 'absent.yaml' }),
    /absent\.yaml: cannot be read \(ENOENT\)/,
  );
  assert.throws(
    () => loadSettings({ cwd: folder(), env: { TOONFLEET_CONFIG: 'absent.yaml' } }),
    /absent\.yaml/,
  );
});

test('a file that is not YAML, or no map, is a fault', () => {
  assert.match(faultsOf('balancer: [').join(), /not YAML/);
  assert.match(faultsOf('just words').join(), /allowed: settings by name/);
});

test('a secret in the settings file is refused without being shown', () => {
  const faults = faultsOf('node: {key: my-very-secret-key-123}');
  assert.match(faults.join(), /node\.key: is a secret/);
  assert.doesNotMatch(faults.join(), /my-very-secret/);
});

test('a secret comes from a file that only its owner can read', () => {
  const cwd = folder();
  const file = join(cwd, 'key');
  writeFileSync(file, 'a-key-of-some-length\n', { mode: 0o600 });
  const env = { TOONFLEET_NODE__KEY_FILE: file };
  assert.equal(loadSettings({ cwd, env }).node.key, 'a-key-of-some-length');
  chmodSync(file, 0o644);
  assert.throws(() => loadSettings({ cwd, env }), /has mode 0644; allowed: 0600/);
});

test('settings are frozen to the last leaf', () => {
  const settings = loadSettings({ cwd: folder(), env: {} });
  assert.throws(() => Object.assign(settings.balancer, { port: 1 }), TypeError);
});

test('every setting has a name in the environment of its own', () => {
  const names = settingRows().map((row) => envNameOf(row.name));
  assert.equal(new Set(names).size, names.length);
  assert.equal(envNameOf('balancer.admin_port'), 'TOONFLEET_BALANCER__ADMIN_PORT');
});

test('a host name becomes a node name', () => {
  assert.equal(nodeNameOf('VM-1.Example.org'), 'vm-1-example-org');
  assert.equal(nodeNameOf('---'), 'node');
  assert.match(nodeNameOf('x'.repeat(80)), /^x{39}$/);
});

test('keys, networks and origins that make no sense are told, and what may be a key is not repeated', () => {
  const hash = 'ab'.repeat(32);
  const faults = faultsOf(
    [
      'balancer:',
      '  trusted_proxies: [10.0.0.0/33, 0.0.0.0/0]',
      '  cors: ["https://app.example.com/path"]',
      '  rate_limit: {requests: -1, pre: 1s}',
      `  api_keys: [{name: shop, sha256: tf_the-key-itself}, {name: Shop, sha256: ${hash}}]`,
    ].join('\n'),
  );
  const text = faults.join('\n');
  for (const name of [
    'balancer.trusted_proxies.0',
    'balancer.trusted_proxies.1',
    'balancer.cors.0',
    'balancer.rate_limit.requests',
    'balancer.rate_limit.pre: there is no such setting; did you mean balancer.rate_limit.per',
    'balancer.api_keys.0.sha256',
    'balancer.api_keys.1.name',
  ])
    assert.ok(text.includes(name), `${name} is missing in:\n${text}`);
  assert.ok(!text.includes('the-key-itself'));
  const key = (name: string, sha256: string) => `{name: ${name}, sha256: "${sha256}"}`;
  const twins = faultsOf(
    `balancer: {api_keys: [${key('a', hash)}, ${key('a', 'cd'.repeat(32))}, ${key('b', hash.toUpperCase())}]}`,
  );
  assert.deepEqual(
    twins.map((fault) => fault.split(':')[0]),
    ['balancer.api_keys.1.name', 'balancer.api_keys.2.sha256'],
  );
});

test('origins are kept in the spelling that browsers send', () => {
  const cwd = folder();
  writeFileSync(
    join(cwd, 'toonfleet.yaml'),
    'balancer: {cors: ["HTTPS://App.Example.com:443/", "http://localhost:80", "https://*.shop.example:8443", "capacitor://localhost", "*"]}',
  );
  assert.deepEqual(loadSettings({ cwd, env: {} }).balancer.cors, [
    'https://app.example.com',
    'http://localhost',
    'https://*.shop.example:8443',
    'capacitor://localhost',
    '*',
  ]);
});

test('the secrets of the alert relay are read for the relay alone: others need not be able to', () => {
  const env = { TOONFLEET_ALERTS__RELAY__TOKEN_FILE: '/nowhere/relay.token' };
  assert.equal(loadSettings({ env, cwd: '/nowhere' }).alerts.relay.token, undefined);
  assert.throws(
    () => loadSettings({ env, cwd: '/nowhere', alertSecrets: true }),
    /relay\.token cannot be read/,
  );
});
