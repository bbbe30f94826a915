// The drill: a running machine is backed up, everything on it is destroyed, and it comes back from elsewhere as it was. With
// the real restic and rsync, and a disk that is really full.

import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { stringify } from 'yaml';
import { statusSchema } from '../../config/admin.ts';
import { PACKAGE_ROOT } from '../process/package.ts';
import { type Site, site, startCluster, toonfleet } from './cluster.ts';
import { decode, form, photo } from './pictures.ts';

const run = promisify(execFile);
const TOKEN = 'an admin token of a test';
const PASSWORD = 'a password of a test';
const WEIGHTS = join(PACKAGE_ROOT, 'server/models/embedded/ink.onnx');

const missing = (program: string) => {
  try {
    execFileSync(program, [program === 'restic' ? 'version' : '--version'], { stdio: 'ignore' });
    return false;
  } catch {
    return `${program} is missing`;
  }
};

/** A machine whose snapshots go elsewhere; secrets come from the environment. */
async function machine(t: TestContext, offsite: 'restic' | 'rsync', more: Record<string, string> = {}) {
  const at = await site(t, {
    TOONFLEET_BALANCER__ADMIN_TOKEN: TOKEN,
    TOONFLEET_BACKUP__OFFSITE: offsite,
    TOONFLEET_BACKUP__TARGET: '',
    ...(offsite === 'restic' ? { TOONFLEET_BACKUP__PASSWORD: PASSWORD } : {}),
    ...more,
  });
  at.env.TOONFLEET_BACKUP__TARGET = join(at.cwd, 'elsewhere');
  writeFileSync(
    join(at.cwd, 'toonfleet.yaml'),
    stringify({ models: { default_style: 'drill' }, limits: { max_side: 512 } }),
  );
  return at;
}

async function good(at: Site, ...words: string[]): Promise<string> {
  const { code, output } = await toonfleet(at, ...words);
  assert.equal(code, 0, `${words.join(' ')}: ${output}`);
  return output;
}

const addModel = (at: Site) =>
  good(
    at,
    'models',
    'add',
    WEIGHTS,
    '--name',
    'drill',
    '--style',
    'drill:Drill',
    '--licence',
    'Apache-2.0',
    '--accept-licence',
  );

/** What has to be the same afterwards. */
function belongings(at: Site): Record<string, string> {
  const digest = (name: string) =>
    createHash('sha256')
      .update(readFileSync(join(at.cwd, name)))
      .digest('hex');
  const names = [
    'toonfleet.yaml',
    'data/balancer-state.json',
    'data/models/manifest.yaml',
    'data/models/drill.onnx',
  ];
  return Object.fromEntries(names.map((name) => [name, digest(name)]));
}

/** A picture of the default style, and which model drew it. */
async function draw(url: string) {
  const answer = await fetch(`${url}/v1/images?format=png`, {
    method: 'POST',
    body: form({ image: await photo(7, 320, 240) }),
  });
  assert.equal(answer.status, 200, await answer.clone().text());
  const { pixels } = await decode(Buffer.from(await answer.arrayBuffer()));
  return { style: answer.headers.get('x-style'), model: answer.headers.get('x-model'), pixels };
}

/** What a balancer was told of traffic; what it has seen of it since it began is not kept anywhere. */
async function trafficOf(adminUrl: string) {
  const answer = await fetch(`${adminUrl}/admin/v1/status`, {
    headers: { authorization: `Bearer ${TOKEN}` },
  });
  const { seen: _, ...told } = statusSchema.parse(await answer.json()).traffic;
  return told;
}

for (const offsite of ['restic', 'rsync'] as const)
  test(`backed up, destroyed, brought back by ${offsite}: settings, traffic and the added model are as they were`, {
    skip: missing(offsite),
  }, async (t) => {
    const at = await machine(t, offsite);
    await addModel(at);
    const timed = async <T>(what: string, work: () => Promise<T>) => {
      const began = performance.now();
      const result = await work();
      t.diagnostic(`${what}: ${Math.round(performance.now() - began)} ms`);
      return result;
    };
    const before = await startCluster(at);
    await good(at, 'traffic', '0.1.0=95', '9.9.9=5');
    const [drawn, traffic] = [await draw(before.url), await trafficOf(before.adminUrl)];
    assert.equal(drawn.style, 'drill');
    assert.deepEqual(traffic.weights, { '0.1.0': 95, '9.9.9': 5 });

    // Two backups under way of a running machine, so that the second finds what the first has sent.
    await timed('first backup', () => good(at, 'backup', 'create'));
    await timed('second backup', () => good(at, 'backup', 'create'));
    const status = JSON.parse(readFileSync(join(at.cwd, 'data/backup/status.json'), 'utf8'));
    assert.ok(Math.abs(Date.now() - Date.parse(status.last_success)) < 60_000);
    const metrics = await (await fetch(`${at.agentUrl}/metrics`)).text();
    assert.match(metrics, /^toonfleet_backup_last_success_timestamp_seconds(\{.*\})? \d{10}/m);
    assert.match(await good(at, 'backup', 'verify', '--all'), /came back whole from elsewhere/);
    const refused = await toonfleet(at, 'backup', 'restore');
    assert.match(refused.output, /toonfleet runs with/);
    const belonged = belongings(at);
    await before.stop();

    rmSync(join(at.cwd, 'data'), { recursive: true });
    rmSync(join(at.cwd, 'toonfleet.yaml'));
    const restoring = performance.now();
    await good(at, 'backup', 'fetch');
    assert.match(await good(at, 'backup', 'restore'), /is restored/);
    t.diagnostic(`fetch and restore: ${Math.round(performance.now() - restoring)} ms`);
    assert.deepEqual(belongings(at), belonged);

    const after = await startCluster(at);
    t.diagnostic(`start after it: ${Math.round(after.readyMs)} ms`);
    assert.deepEqual(await trafficOf(after.adminUrl), traffic);
    const again = await draw(after.url);
    assert.deepEqual([again.style, again.model], [drawn.style, drawn.model]);
    assert.ok(again.pixels.equals(drawn.pixels), 'the same picture');
    await after.stop();
  });

test('elsewhere as many are kept as here, whatever happens here', { skip: missing('rsync') }, async (t) => {
  const at = await machine(t, 'rsync', {
    TOONFLEET_BACKUP__KEEP_DAILY: '1',
    TOONFLEET_BACKUP__KEEP_WEEKLY: '0',
    TOONFLEET_BACKUP__KEEP_MONTHLY: '0',
  });
  const elsewhere = join(at.cwd, 'elsewhere');
  await good(at, 'backup', 'create');
  const [first = ''] = readdirSync(elsewhere);
  // All that is here is lost: the copies elsewhere stay until newer ones have come.
  rmSync(join(at.cwd, 'data/backup'), { recursive: true });
  const half = join(elsewhere, '2026-01-01T00-00-00Z');
  mkdirSync(half);
  assert.match(await good(at, 'backup', 'fetch'), new RegExp(`${first} is here and whole`));
  const second = JSON.parse(await good(at, 'backup', 'create', '--json')).id;
  assert.deepEqual(readdirSync(elsewhere).sort(), [half.split('/').at(-1), second].sort());
  assert.match((await toonfleet(at, 'backup', 'fetch', first)).output, /has no snapshot/);
});

test('a place elsewhere that does not answer, and a program that is missing, are told; the snapshot is made', {
  skip: missing('restic'),
}, async (t) => {
  const at = await machine(t, 'restic');
  await good(at, 'backup', 'create');
  const other = { ...at, env: { ...at.env, TOONFLEET_BACKUP__PASSWORD: 'another password' } };
  const wrong = await toonfleet(other, 'backup', 'create');
  assert.equal(wrong.code, 1);
  assert.match(wrong.output, /is made, but not taken elsewhere: restic failed.*[\s\S]*wrong password/);
  const bare = await toonfleet({ ...at, env: { ...at.env, PATH: '/nowhere' } }, 'backup', 'create');
  assert.equal(bare.code, 1);
  assert.match(bare.output, /restic is not installed here \(apt-get install restic\)/);
  const status = JSON.parse(readFileSync(join(at.cwd, 'data/backup/status.json'), 'utf8'));
  assert.match(status.fault, /restic is not installed/);
  assert.ok(Date.parse(status.last_success) < Date.parse(status.last_attempt));
});

/** A file system of its own, that small. */
async function smallDisk(at: Site, folder: string): Promise<boolean> {
  mkdirSync(folder, { recursive: true });
  try {
    await run('mount', ['-t', 'tmpfs', '-o', 'size=20m,mode=0700', 'tmpfs', folder]);
  } catch {
    return false;
  }
  at.closers.push(() => run('umount', [folder]));
  return true;
}

test('a full disk stops a backup with a sentence; what was there stays, and nothing half', async (t) => {
  const at = await site(t);
  const disk = join(at.cwd, 'disk');
  if (!(await smallDisk(at, disk))) return t.skip('no file system of its own may be mounted here');
  const place = { ...at, env: { ...at.env, TOONFLEET_BACKUP__DIR: disk } };
  await addModel(place);
  await good(place, 'backup', 'create');
  const before = readdirSync(join(disk, 'snapshots'));
  // Other than before, so that it has to be written and cannot be a second name.
  const state = join(at.cwd, 'data/drain.json');
  writeFileSync(state, 'x'.repeat(1_000_000));
  writeFileSync(join(disk, 'others'), Buffer.alloc(18 * 1024 * 1024));
  const { code, output } = await toonfleet(place, 'backup', 'create');
  assert.equal(code, 1);
  assert.match(output, /There is no room for a snapshot in .*; older ones stand/);
  assert.deepEqual(readdirSync(join(disk, 'snapshots')), before);
  assert.ok(!existsSync(join(disk, 'lock')));
  await good(place, 'backup', 'verify', '--all');
});
