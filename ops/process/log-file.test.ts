import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { LogFile, pm2LogFile } from './log-file.ts';

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'log-file-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

test('a file that is renamed gets every line until it is opened anew, and the next file every one after', (t) => {
  const path = join(folder(t), 'worker.log');
  const [one, two] = [new LogFile(path), new LogFile(path)];
  one.append('1\n');
  renameSync(path, `${path}.1`);
  one.append('2\n');
  two.append('3\n');
  one.reopen();
  one.append('4\n');
  two.append('5\n');
  two.reopen();
  two.append('6\n');
  assert.equal(readFileSync(`${path}.1`, 'utf8'), '1\n2\n3\n5\n');
  assert.equal(readFileSync(path, 'utf8'), '4\n6\n');
});

test('a file that cannot be opened anew is no reason to lose lines', (t) => {
  const path = join(folder(t), 'worker.log');
  const file = new LogFile(path);
  renameSync(path, `${path}.1`);
  mkdirSync(path);
  file.append('1\n');
  file.reopen();
  file.append('2\n');
  assert.equal(readFileSync(`${path}.1`, 'utf8'), '1\n2\n');
});

test("PM2's words for no file are understood", () => {
  assert.equal(pm2LogFile({ pm_out_log_path: '/var/x/worker.log' }), '/var/x/worker.log');
  for (const none of ['/dev/null', 'NULL', ''])
    assert.equal(pm2LogFile({ pm_out_log_path: none }), undefined);
  assert.equal(pm2LogFile({}), undefined);
});
