import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { parse } from 'yaml';
import { loadSettings } from '../config/load.ts';
import { main } from './cli.ts';
import { reloadCommands } from './reload.ts';

/** Runs a command in this process and catches what it says. */
async function run(context: TestContext, ...args: string[]) {
  const said = { out: '', err: '' };
  const catchInto = (name: 'out' | 'err') => (text: string | Uint8Array) => {
    said[name] += text;
    return true;
  };
  const out = context.mock.method(process.stdout, 'write', catchInto('out'));
  const err = context.mock.method(process.stderr, 'write', catchInto('err'));
  try {
    return { code: await main(args), ...said };
  } finally {
    out.mock.restore();
    err.mock.restore();
  }
}

function fileWith(context: TestContext, text: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'cli-'));
  context.after(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, 'toonfleet.yaml');
  writeFileSync(file, text);
  return file;
}

const refused: [string, string[], RegExp][] = [
  ['no command', [], /Which command/],
  ['an unknown command', ['strat'], /no command "strat"/],
  ['an unknown flag', ['start', '--fast'], /--fast/],
  ['an unknown role', ['start', '--role', 'boss'], /all, balancer, node/],
  ['a word too many', ['config', 'check', 'twice'], /twice/],
  ['an unknown target', ['reload', 'everything'], /worker, balancer, all/],
  ['--config without a file', ['config', 'check', '--config'], /needs a file/],
];
for (const [name, args, sentence] of refused) {
  test(`${name} is refused with a sentence and exit code 2`, async (context) => {
    const { code, out, err } = await run(context, ...args);
    assert.equal(code, 2);
    assert.match(err, sentence);
    assert.equal(out, '');
  });
}

test('the usage begins with examples that the command itself understands', async (context) => {
  const { code, out } = await run(context, '--help');
  assert.equal(code, 0);
  assert.match(out, /Examples:\n {2}toonfleet start\n {2}toonfleet reload worker/);
});

test('wrong settings end with 78 and every fault', async (context) => {
  const file = fileWith(context, 'balancer: {port: 99999, deadline: never}\nworkr: {}\n');
  const { code, err } = await run(context, 'config', 'check', '--config', file);
  assert.equal(code, 78);
  for (const name of ['balancer.port', 'balancer.deadline', 'workr']) assert.ok(err.includes(name), name);
});

test('the settings that are shown would set the same again, and hold no secret', async (context) => {
  const file = fileWith(
    context,
    'balancer: {deadline: 90s}\nlimits: {upload: 3MiB}\nnodes: [{agent: "http://10.0.0.1:8001"}]\n',
  );
  process.env.TOONFLEET_NODE__KEY = 'a key that nobody may read';
  context.after(() => {
    delete process.env.TOONFLEET_NODE__KEY;
  });
  const { out } = await run(context, 'config', 'show', `--config=${file}`);
  assert.doesNotMatch(out, /nobody may read/);
  const { key, ...node } = parse(out).node;
  assert.equal(key, '(set, not shown)');
  const again = fileWith(context, JSON.stringify({ ...parse(out), node }));
  const { source: _file, node: _node, ...settings } = loadSettings({ file, env: {} });
  const { source: _again, node: _nodeAgain, ...same } = loadSettings({ file: again, env: {} });
  assert.deepEqual(same, settings);
});

test('every setting has its row in the reference', async (context) => {
  const { out } = await run(context, 'config', 'docs');
  for (const name of ['balancer.port', 'nodes', 'models.dir', 'worker.count'])
    assert.match(out, new RegExp(`^\\| \`${name.replace('.', '\\.')}\` \\|`, 'm'));
});

test('workers are reloaded one by one', () => {
  assert.deepEqual(reloadCommands('worker'), [['reload', 'worker', '--parallel', '1']]);
  assert.deepEqual(
    reloadCommands('all').map(([, app]) => app),
    ['agent', 'worker', 'balancer'],
  );
});
