// The three load tools against one running cluster: our own, k6 and Locust. Each must send pictures, get pictures, and
// leave its report. How fast the machine is decides nothing here; the agreement of the figures is printed, and kept in
// docs/loadtest.md as it was on a quiet machine.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { PACKAGE_ROOT } from '../process/package.ts';
import { type Cluster, site, startCluster, toonfleet, untilWorkers } from './cluster.ts';

const TOOLS = process.env.TOOLS_DIR ?? join(PACKAGE_ROOT, '.tools');
const missing = ['k6', 'locust/bin/locust'].filter((tool) => !existsSync(join(TOOLS, tool)));
const skip = missing.length > 0 && `no ${missing.join(' and ')} in ${TOOLS}: run loadtest/install-tools.sh`;

/** Small pictures, so that a slow machine sends many too. */
const SIZES = '128x128';

interface Run {
  readonly code: number | null;
  readonly output: string;
}

/** Runs one of the scripts to its end. */
function script(
  path: string,
  args: readonly string[],
  cluster: Cluster,
  env: Record<string, string>,
): Promise<Run> {
  const child = spawn(join(PACKAGE_ROOT, 'loadtest', path), args, {
    cwd: cluster.cwd,
    env: { ...cluster.env, TOOLS_DIR: TOOLS, SIZES, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  }
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, output }));
  });
}

const readJson = (path: string): unknown => JSON.parse(readFileSync(path, 'utf8'));

test('the load tools load a running cluster and leave their reports', { skip }, async (context) => {
  const cluster = await startCluster(await site(context));
  await untilWorkers(cluster, 2);
  const file = (name: string) => join(cluster.cwd, name);

  await context.test('k6 draws ten pictures without a fault', async () => {
    const { code, output } = await script('k6/run.sh', ['smoke', cluster.url], cluster, {});
    assert.equal(code, 0, output);
  });

  await context.test('k6 climbs its ladder of rates and writes the last that held', async () => {
    const env = { START: '2', FACTOR: '2', STEPS: '3', HOLD: '4', JSON: file('k6.json') };
    const { code, output } = await script('k6/run.sh', ['ceiling', cluster.url], cluster, env);
    // 99: a threshold does not hold any more, which is how a ladder ends on a slow machine.
    assert.ok(code === 0 || code === 99, output);
    const { ceiling_qps } = readJson(file('k6.json')) as { ceiling_qps: number | null };
    context.diagnostic(`k6: ${ceiling_qps ?? 'no'} pictures/s hold`);
    assert.match(output, /\d+ of \d+ back .* pictures 100\.00 %/);
  });

  for (const user of ['RestUser', 'GradioUser']) {
    await context.test(`Locust’s ${user} fills a table without a failed picture`, async () => {
      const env = { STEPS: '1,2', STEP_SECONDS: '4', TABLE: file('locust.json'), CSV: file('locust') };
      const { code, output } = await script('locust/run.sh', [cluster.url, user], cluster, env);
      assert.equal(code, 0, output);
      const rows = readJson(file('locust.json')) as { users: number; qps: number; error_rate: number }[];
      context.diagnostic(
        `${user}: ${rows.map(({ users, qps }) => `${users} users ${qps.toFixed(1)}/s`).join(', ')}`,
      );
      assert.deepEqual(
        rows.map(({ users }) => users),
        [1, 2],
      );
      assert.ok(
        rows.every(({ qps, error_rate }) => qps > 0 && error_rate === 0),
        output,
      );
      assert.ok(existsSync(file('locust_stats.csv')));
    });
  }

  await context.test('our own steps say the same of the same users, and write JSON and a page', async () => {
    const args = ['--plan', 'steps', '--users', '1,2', '--duration', '4s', '--sizes', SIZES];
    const reports = ['--json', file('steps.json'), '--html', file('steps.html')];
    const nodes = ['--agents', cluster.agentUrl, '--admin', cluster.adminUrl];
    const { code, output } = await toonfleet(cluster, 'loadtest', cluster.url, ...args, ...reports, ...nodes);
    context.diagnostic(output);
    assert.ok(code === 0 || code === 1, output);
    const { steps } = readJson(file('steps.json')) as { steps: unknown[] };
    assert.ok(steps.length >= 2, output);
    assert.match(readFileSync(file('steps.html'), 'utf8'), /<svg/);
  });
});
