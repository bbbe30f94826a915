import assert from 'node:assert/strict';
import test from 'node:test';
import { isLoopback, lateBound, type Options, readOptions, UsageError } from './options.ts';
import { aRun } from './result.example.ts';

const slo = { p95_ms: 3000, max_error_rate: 0.01, max_cpu: 0.9, max_worker_memory_mb: 500 };
const files: Record<string, string> = {
  'run.json': JSON.stringify(aRun()),
  'no-ceiling.json': JSON.stringify(aRun({ ceiling_qps: null })),
  'other.json': '{"hello": 1}',
  'broken.json': '{',
  'slo.json': JSON.stringify({ ...slo, p95_ms: 2000 }),
  'bad-slo.json': '{"p95_ms": "soon"}',
};
const read = (args: string): Options =>
  readOptions(args.split(' '), slo, (path) => {
    const text = files[path];
    if (text === undefined) throw Object.assign(new Error('none'), { code: 'ENOENT' });
    return text;
  });
const local = 'http://127.0.0.1:8080';

const faults: { args: string; says: RegExp }[] = [
  { args: '--plan ceiling', says: /URL of the server is missing/ },
  { args: 'hello', says: /"hello" is not an http or https URL/ },
  { args: 'ftp://127.0.0.1', says: /not an http or https URL/ },
  { args: `${local}/v1/images`, says: /has a path/ },
  { args: `${local} http://127.0.0.1:1`, says: /one URL is enough/ },
  { args: 'http://10.0.0.5:8080', says: /10\.0\.0\.5:8080 is not loopback.*--i-own-this-host/ },
  { args: 'https://localhost.example.org', says: /not loopback/ },
  {
    args: `${local} --plan fly`,
    says: /no plan "fly"; there are ceiling, steps, soak, spike, stress, reload/,
  },
  { args: `${local} --step 0s`, says: /--step: found "0s"/ },
  { args: `${local} --duration 0`, says: /--duration: found "0"/ },
  { args: `${local} --qps -3`, says: /--qps/ },
  { args: `${local} --qps=-3`, says: /--qps: found "-3"/ },
  { args: `${local} --users 5,x`, says: /--users: found "x"/ },
  { args: `${local} --errors 120%`, says: /--errors: found "120%"/ },
  { args: `${local} --sizes 9x9`, says: /--sizes: found "9x9"/ },
  { args: `${local} --arrivals never`, says: /--arrivals/ },
  { args: `${local} --path /health`, says: /--path/ },
  { args: `${local} --wat`, says: /--wat/ },
  { args: `${local} --baseline missing.json`, says: /missing.json cannot be read \(ENOENT\)/ },
  { args: `${local} --baseline other.json`, says: /other.json is not the JSON of a run/ },
  { args: `${local} --ceiling broken.json`, says: /broken.json is not JSON/ },
  { args: `${local} --ceiling no-ceiling.json`, says: /holds no ceiling/ },
  { args: `${local} --slo bad-slo.json`, says: /is no service level/ },
  { args: `${local} --header nonsense`, says: /--header/ },
];
for (const { args, says } of faults) {
  test(`"${args}" is refused in words`, () => {
    assert.throws(
      () => read(args),
      (error) => error instanceof UsageError && says.test(error.message.replaceAll('\n', ' ')),
    );
  });
}

test('all faults are told at once', () => {
  assert.throws(
    () => read(`${local} --plan fly --step 0s --users 0`),
    (error) => {
      assert.ok(error instanceof UsageError);
      assert.equal(error.message.split('\n').length, 3);
      return true;
    },
  );
});

test('defaults are the kept service level, the local agent and the local admin port', () => {
  const options = read(local);
  assert.deepEqual(options.slo, slo);
  assert.deepEqual(
    [options.plan, options.agents, options.admin],
    ['ceiling', ['http://127.0.0.1:8001'], 'http://127.0.0.1:8081'],
  );
  assert.deepEqual(
    [options.settings.step, options.settings.confirm, options.settings.precision],
    [30, 60, 0.05],
  );
});

test('clauses of the service level are read and switched off', () => {
  const options = read(`${local} --p95 2s --errors 0.5% --cpu off --memory 800MB`);
  assert.deepEqual(options.slo, {
    p95_ms: 2000,
    max_error_rate: 0.005,
    max_cpu: null,
    max_worker_memory_mb: 800,
  });
  assert.equal(read(`${local} --slo slo.json`).slo.p95_ms, 2000);
});

test('somebody else’s host is loaded only on their word, and its nodes are not guessed', () => {
  const options = read('https://photos.example --i-own-this-host');
  assert.deepEqual([options.agents, options.admin], [[], undefined]);
});

test('fields, headers and the deadline go on every request', () => {
  const options = read(`${local} --max-side 256 --format jpeg --deadline 5s --header X-Priority:batch`);
  assert.deepEqual(options.fields, { max_side: '256', format: 'jpeg' });
  assert.deepEqual(options.headers, { 'x-priority': 'batch', 'x-deadline-ms': '5000' });
  assert.equal(options.settings.deadlineMs, 5000);
});

test('a ceiling is a number or a run', () => {
  assert.equal(read(`${local} --ceiling 12.5`).settings.ceilingQps, 12.5);
  assert.equal(read(`${local} --ceiling run.json`).settings.ceilingQps, 20);
});

test('only this machine is loopback', () => {
  for (const name of ['localhost', '127.0.0.1', '127.1.2.3', '[::1]']) assert.ok(isLoopback(name), name);
  for (const name of ['0.0.0.0', '10.0.0.1', 'localhost.evil.example', '128.0.0.1', '[::2]'])
    assert.ok(!isLoopback(name), name);
});

test('lateness may be two percent of the limit, and at least five ms', () => {
  assert.equal(lateBound(slo), 60);
  assert.equal(lateBound({ ...slo, p95_ms: 100 }), 5);
  assert.equal(lateBound({ ...slo, p95_ms: null }), 5);
});
