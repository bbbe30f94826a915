import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { after } from 'node:test';
import { fileURLToPath } from 'node:url';
import { aRun, aStep } from './result.example.ts';

const MAIN = fileURLToPath(new URL('./main.ts', import.meta.url));
const dir = mkdtempSync(join(tmpdir(), 'toonfleet-capacity-'));
after(() => rmSync(dir, { recursive: true }));

const steps = [10, 15, 19, 20, 21].map((offered_qps) =>
  aStep({
    offered_qps,
    achieved_qps: Math.min(offered_qps, 20.5),
    verdict: offered_qps <= 20 ? 'met' : 'not met',
  }),
);
const file = (name: string, content: unknown) => {
  const path = join(dir, name);
  writeFileSync(path, JSON.stringify(content));
  return path;
};
const one = file('one.json', aRun({ steps }));

function capacity(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      ['--import', import.meta.resolve('tsx'), MAIN, 'capacity', ...args],
      { cwd: dir },
      (error, out, err) => {
        resolve({ code: typeof error?.code === 'number' ? error.code : 0, out, err });
      },
    );
  });
}

test('a plan tells its machines, what they rest on, and how far it goes beyond what was measured', async () => {
  const { code, out } = await capacity('--target-qps', '50', '--p95', '3s', '--from', one, '--zones', '2');
  assert.equal(code, 0);
  assert.match(out, /measured {3}1 node: 20\.0\/s {2}\(one\.json; Example CPU, 2026-11-21\)/);
  assert.match(out, /not put to a test, measure a second size/);
  assert.match(
    out,
    /VMs {8}6 \(3 in each of 2 zones\): 4 for the load with its headroom, 2 for what may fail/,
  );
  assert.match(out, /CAUTION {4}this is 6\.0 times the largest measured fleet/);
});

test('what if a picture took twice as long', async () => {
  const { out } = await capacity(
    '--target-qps',
    '50',
    '--p95',
    '3s',
    '--from',
    one,
    '--ms-per-picture',
    '180',
    '--json',
  );
  const plan = JSON.parse(out) as { speed: number; plan: { needed: number } };
  assert.deepEqual([plan.speed, plan.plan.needed], [0.5, 8]);
});

test('the simulation shows its own error', async () => {
  const { code, out } = await capacity('--target-qps', '50', '--p95', '3s', '--from', one, '--simulate');
  assert.equal(code, 0);
  assert.match(
    out,
    /simulated {2}ceiling \d+.*P95 \d+.* at the target; the same simulation of one\.json is [+-]\d+\.\d % off what was measured/,
  );
});

const faults: { name: string; args: string[]; says: RegExp }[] = [
  { name: 'no demand', args: ['--from', one], says: /--target-qps is missing/ },
  {
    name: 'a demand of nothing',
    args: ['--target-qps', '0', '--from', one],
    says: /--target-qps: found "0"/,
  },
  {
    name: 'no measurement',
    args: ['--target-qps', '5'],
    says: /there is no measured ceiling in .*run "toonfleet loadtest URL" first/,
  },
  {
    name: 'a file that is none',
    args: ['--target-qps', '5', '--from', join(dir, 'none.json')],
    says: /none\.json cannot be read/,
  },
  {
    name: 'a run without a ceiling',
    args: ['--target-qps', '5', '--from', file('soak.json', aRun({ plan: 'soak', ceiling_qps: null }))],
    says: /holds no ceiling \(plan soak/,
  },
  {
    name: 'a P95 that no step kept',
    args: ['--target-qps', '5', '--p95', '10ms', '--from', one],
    says: /none of its steps kept P95 within 10 ms; measure again/,
  },
];
for (const { name, args, says } of faults) {
  test(`${name} is refused in words`, async () => {
    const { code, err } = await capacity(...args);
    assert.equal(code, 2);
    assert.match(err, says);
  });
}
