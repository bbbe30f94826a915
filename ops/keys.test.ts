import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { loadSettings } from '../config/load.ts';
import { KEY_BYTES, madeKeyText, makeKey } from './keys.ts';
import { PACKAGE_ROOT } from './process/package.ts';

test('what is printed can be pasted into the settings, and is the hash of the key', () => {
  const made = makeKey('night-shift', new Uint8Array(KEY_BYTES).fill(7));
  const printed = madeKeyText(made, 'batch');
  assert.equal(printed.split(made.key).length, 2, 'the key is printed once');
  const cwd = mkdtempSync(join(tmpdir(), 'toonfleet-keys-'));
  writeFileSync(join(cwd, 'toonfleet.yaml'), printed.slice(printed.indexOf('balancer:\n')));
  const [key] = loadSettings({ cwd, env: {} }).balancer.api_keys;
  assert.equal(key?.name, 'night-shift');
  assert.equal(key?.priority, 'batch');
  assert.equal(key?.sha256, createHash('sha256').update(made.key).digest('hex'));
});

const run = (...args: string[]) =>
  spawnSync(process.execPath, [join(PACKAGE_ROOT, 'ops/toonfleet.mjs'), 'keys', ...args], {
    encoding: 'utf8',
    cwd: tmpdir(),
  });

test('the command makes another key each time, and says what it does not understand', () => {
  const made = run('make', 'shop', '--json');
  assert.equal(made.status, 0, made.stderr);
  const { name, key, sha256 } = JSON.parse(made.stdout) as Record<string, string>;
  assert.equal(name, 'shop');
  assert.match(key ?? '', /^tf_[\w-]{43}$/);
  assert.equal(
    sha256,
    createHash('sha256')
      .update(key ?? '')
      .digest('hex'),
  );
  assert.ok(!run('make', 'shop').stdout.includes(key ?? ''));
  for (const args of [
    ['make'],
    ['make', 'Shop'],
    ['make', 'a', 'b'],
    ['made', 'a'],
    ['make', 'a', '--priority', 'high'],
  ])
    assert.equal(run(...args).status, 2, args.join(' '));
});
