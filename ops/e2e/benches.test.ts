// The benches that start whole fleets, each in its shortest form: they run to their end, answer in JSON, and leave nothing
// behind. What they measure here is no figure.

import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import test from 'node:test';
import { site, toonfleet } from './cluster.ts';

/** Runs a bench; gives back its JSON. */
async function bench(
  context: Parameters<typeof site>[0],
  ...args: string[]
): Promise<Record<string, unknown>> {
  const at = await site(context);
  const { code, output } = await toonfleet(at, 'bench', ...args, '--json');
  assert.equal(code, 0, output);
  // Progress comes before it, and on a fresh checkout the compiler's word.
  return JSON.parse(output.slice(output.search(/^\{$/m))) as Record<string, unknown>;
}

/** Namespaces and control groups that benches make. */
const leftovers = () =>
  ['/run/netns', '/sys/fs/cgroup', '/sys/fs/cgroup/cpu']
    .flatMap((dir) => (existsSync(dir) ? readdirSync(dir) : []))
    .filter((name) => /^toonfleet-/.test(name));

test('bench scaling measures a node in a namespace of its own and takes the namespace away again', async (context) => {
  const before = leftovers();
  const { rows, notes } = await bench(
    context,
    ...['scaling', '--nodes', '1', '--slots', 'off', '--side', '128', '--step', '2s', '--minutes', '2'],
  );
  assert.deepEqual(leftovers(), before);
  if (!Array.isArray(rows) || rows.length === 0) {
    assert.match(String(notes), /Namespaced nodes were left out: ./);
    context.diagnostic(String(notes));
    return;
  }
  const [row] = rows as { kind: string; nodes: number; slots: number; sentence: string }[];
  assert.deepEqual([row?.kind, row?.nodes, row?.slots], ['namespaced', 1, 1]);
  context.diagnostic(row?.sentence ?? '');
});

test('bench plans reloads a real fleet with the real command and tells how many requests were lost', async (context) => {
  const { runs } = await bench(
    context,
    ...[
      'plans',
      '--plans',
      'reload',
      '--ceiling',
      '5',
      '--reload',
      '15s',
      '--side',
      '128',
      '--out',
      'reports',
    ],
  );
  assert.ok(Array.isArray(runs));
  const [run] = runs as { plan: string; verdict: string; sentence: string }[];
  assert.equal(run?.plan, 'reload');
  context.diagnostic(run?.sentence ?? '');
  // A generator that had to wait for its machine says nothing about the fleet, and says so.
  assert.ok(run?.verdict === 'met' || run?.verdict === 'invalid', run?.sentence);
});

test('bench balancer puts real workers behind this balancer and drives them', async (context) => {
  const { contenders, goals } = await bench(
    context,
    ...[
      'balancer',
      '--real',
      '--only',
      'toonfleet cost',
      '--part',
      'overload',
      '--seconds',
      '3',
      '--rounds',
      '1',
    ],
  );
  assert.ok(Array.isArray(contenders) && Array.isArray(goals));
  const cost = (contenders as { name: string; overload: { requests: number; answered: number }[] }[]).find(
    ({ name }) => name === 'toonfleet cost',
  );
  assert.equal(cost?.overload.length, 3);
  assert.ok(cost?.overload.every(({ requests, answered }) => requests > 0 && answered > 0));
});
