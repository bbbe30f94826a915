import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { relative } from 'node:path';
import { test } from 'node:test';
import { PACKAGE_ROOT } from '../ops/process/package.ts';
import { generatedFiles } from './generate.ts';

for (const [path, text] of generatedFiles()) {
  test(`${relative(PACKAGE_ROOT, path)} says what the code says (else: npm run make:docs)`, () => {
    assert.equal(readFileSync(path, 'utf8'), text);
  });
}
