import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { releaseIn } from './package.ts';

const GOOD = {
  id: '0.2.0-abc',
  version: '0.2.0',
  commit: 'a'.repeat(40),
  built_at: '2026-01-01T00:00:00Z',
  node: '20.20.0',
  platform: 'linux-x64',
};

test('a folder is the release that its RELEASE file names; without one it has none', (context) => {
  const folder = mkdtempSync(join(tmpdir(), 'release-'));
  context.after(() => rmSync(folder, { recursive: true, force: true }));
  assert.equal(releaseIn(folder), undefined);
  writeFileSync(join(folder, 'RELEASE'), JSON.stringify(GOOD));
  assert.equal(releaseIn(folder), '0.2.0-abc');
  for (const broken of ['', '{', '{}', JSON.stringify({ ...GOOD, id: '../x' })]) {
    writeFileSync(join(folder, 'RELEASE'), broken);
    assert.throws(() => releaseIn(folder), /does not say which release this is/);
  }
});
