import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { autoscaleFileIn, viewAutoscale } from './autoscale-file.ts';

function folder(context: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'autoscale-'));
  context.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

const vm = (url: string) => ({ url, id: 'x', zone: 'a' });

test('VMs that sleep or are on the move are told as Prometheus names them, each once', (context) => {
  const dataDir = folder(context);
  const memory = {
    parked: [vm('http://10.0.0.11:8001'), vm('http://vm-2')],
    moving: { what: 'wake', url: 'http://vm-2', id: 'x', since: 5 },
    restUntil: 0,
    failed: { 'http://[fd00::12]:8001': 7 },
    history: [
      { at: 1, count: 4 },
      { at: 9, count: 3 },
    ],
  };
  writeFileSync(autoscaleFileIn(dataDir), JSON.stringify(memory));
  assert.deepEqual(viewAutoscale(dataDir), {
    parked: ['10.0.0.11:8001', 'vm-2:80'],
    failed: new Map([['[fd00::12]:8001', 7]]),
    wanted: 3,
    lookedAt: 9,
  });
});

test('where autoscale never ran, or what it left is broken, there is nothing to tell', (context) => {
  const dataDir = folder(context);
  assert.equal(viewAutoscale(dataDir), undefined);
  for (const text of ['', '{"parked":', '{"parked":[{"url":"nowhere"}]}', '[]']) {
    writeFileSync(autoscaleFileIn(dataDir), text);
    assert.equal(viewAutoscale(dataDir), undefined, text);
  }
});
