import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { PACKAGE_ROOT } from '../process/package.ts';
import { productionLock, productionManifest } from './production.ts';

test('what only developers need is left out, and the rest stays word for word', () => {
  const lock = {
    lockfileVersion: 3,
    packages: {
      '': { name: 'x', dependencies: { koa: '1' }, devDependencies: { tsx: '1' } },
      'node_modules/koa': { version: '1', integrity: 'sha512-a' },
      'node_modules/tsx': { version: '1', dev: true },
      'node_modules/fsevents': { version: '1', optional: true, os: ['darwin'] },
      // Developers need it, and so would the product like to.
      'node_modules/both': { version: '1', devOptional: true },
    },
  };
  assert.deepEqual(productionLock(lock), {
    lockfileVersion: 3,
    packages: {
      '': { name: 'x', dependencies: { koa: '1' } },
      'node_modules/koa': { version: '1', integrity: 'sha512-a' },
      'node_modules/fsevents': { version: '1', optional: true, os: ['darwin'] },
      'node_modules/both': { version: '1', devOptional: true },
    },
  });
  const manifest = { name: 'x', scripts: { start: 'go', check: 'tsc' }, devDependencies: { tsx: '1' } };
  assert.deepEqual(productionManifest(manifest), { name: 'x', scripts: { start: 'go' } });
});

test('every package that the product asks for stays in its lockfile', () => {
  const read = (name: string) => JSON.parse(readFileSync(join(PACKAGE_ROOT, name), 'utf8'));
  const { packages } = productionLock(read('package-lock.json')) as { packages: Record<string, unknown> };
  const wanted = Object.keys(read('package.json').dependencies);
  assert.deepEqual(
    wanted.filter((name) => !(`node_modules/${name}` in packages)),
    [],
  );
  assert.ok(!('node_modules/typescript' in packages));
});
