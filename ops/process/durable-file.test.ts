import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { z } from 'zod';
import { readDurable, writeDurable } from './durable-file.ts';

const schema = z.object({ count: z.number().int() });

function folder(context: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'durable-'));
  context.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

test('what was written is read again, and nothing else is left in the folder', (context) => {
  const path = join(folder(context), 'deep/state.json');
  assert.equal(readDurable(path, schema, 'the count'), undefined);
  writeDurable(path, { count: 1 });
  writeDurable(path, { count: 2 });
  assert.deepEqual(readDurable(path, schema, 'the count'), { count: 2 });
  assert.deepEqual(readdirSync(join(path, '..')), ['state.json']);
});

for (const [name, text, why] of [
  ['half a file', '{"count": 1', /is not JSON/],
  ['an empty file', '', /is not JSON/],
  ['another meaning', '{"count": "many"}', /count: /],
] as const)
  test(`${name} is told with its path and what to do, and never taken for nothing`, (context) => {
    const path = join(folder(context), 'state.json');
    writeFileSync(path, text);
    assert.throws(
      () => readDurable(path, schema, 'the count'),
      (error: Error) =>
        error.message.startsWith(`${path} (the count) is broken: `) &&
        why.test(error.message) &&
        /move it away/.test(error.message),
    );
  });
