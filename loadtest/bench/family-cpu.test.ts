import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import test from 'node:test';
import { familyCpuSeconds } from './family-cpu.ts';

test('the CPU time of a grandchild in a session of its own is counted', async (t) => {
  // It ends when who started it does, since nobody holds its standard input any more.
  const busy =
    'while (process.cpuUsage().user < 3e5); console.log(1); process.stdin.resume().on("end", () => process.exit())';
  const options = "{ detached: true, stdio: ['pipe', 'inherit', 'inherit'] }";
  const script = `require('node:child_process').spawn(process.execPath, ['-e', ${JSON.stringify(busy)}], ${options})`;
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => child.kill());
  const before = familyCpuSeconds(child.pid ?? 0);
  await once(child.stdout, 'data');
  assert.ok(familyCpuSeconds(child.pid ?? 0) - before >= 0.25);
  assert.ok(before < 0.25);
});
