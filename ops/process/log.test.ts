import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { until } from './trial.ts';

const LOG = new URL('./log.ts', import.meta.url).href;
const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Runs a few lines with a log in a process of their own. */
function run(code: string) {
  const child = spawn(
    process.execPath,
    [
      '--import',
      'tsx',
      '--input-type=module',
      '-e',
      `import { createLog } from '${LOG}'; const log = createLog('test', 'info'); ${code}`,
    ],
    { cwd: ROOT, stdio: ['ignore', 'pipe', 'ignore'] },
  );
  let text = '';
  child.stdout.on('data', (chunk) => {
    text += chunk;
  });
  return {
    child,
    lines: () =>
      text
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line) as { n: number; level: string }),
  };
}

for (const { name, code } of [
  { name: 'ends by itself', code: '' },
  { name: 'calls exit', code: 'process.exit(3);' },
  { name: 'dies of an exception', code: 'throw new Error("x");' },
])
  test(`no line is lost when a process ${name}`, async () => {
    const { child, lines } = run(`for (let n = 0; n < 300; n++) log.info({ n }, 'line'); ${code}`);
    await once(child, 'close');
    assert.deepEqual(
      lines().map(({ n }) => n),
      Array.from({ length: 300 }, (_, n) => n),
    );
  });

test('whatever a client says stays one line of JSON, without a character that moves a cursor', async () => {
  const said = [
    'a\r\nb\n{"level":"error","message":"forged"}',
    '\u001b[2J\u001b]0;title\u0007',
    '\u009b2J\u0085\u007f\u2028\u2029',
    '"},{"x":"\\',
    `\u001b${'x'.repeat(10_000)}`,
  ];
  const { child, lines } = run(
    `for (const path of ${JSON.stringify(said)}) log.info({ path, [path]: path, error: new Error(path) }, path);`,
  );
  let text = '';
  child.stdout.on('data', (chunk) => {
    text += chunk;
  });
  await once(child, 'close');
  const found = lines() as unknown as { path: string; message: string }[];
  assert.deepEqual(
    found.map(({ path, message }) => [path, message]),
    said.map((each) => [each, each]),
  );
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not be there.
  assert.ok(!/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028\u2029]/.test(text));
});

for (const level of ['info', 'warn', 'error'])
  test(`one line of level ${level} is seen though the process goes on`, async (context) => {
    const { child, lines } = run(`log.${level}({ n: 1 }, 'line'); setTimeout(() => {}, 60_000);`);
    context.after(() => child.kill('SIGKILL'));
    await once(child.stdout, 'data');
    assert.equal(lines()[0]?.level, level);
  });

test('where PM2 has put its own write in the place of stdout, every line goes there and none past it', async () => {
  const { child, lines } = run(
    `log.info({ n: -1 }, 'before');
     const own = process.stdout.write.bind(process.stdout);
     process.stdout.write = (text) => own(text.replaceAll('"line"', '"caught"'));
     const { createLog: again } = await import('${LOG}');
     const second = again('test', 'info');
     for (let n = 0; n < 100; n++) second.info({ n }, 'line');`,
  );
  await once(child, 'close');
  const caught = lines().filter(({ n }) => n >= 0) as { n: number; message?: string }[];
  assert.equal(caught.length, 100);
  assert.ok(caught.every(({ message }) => message === 'caught'));
});

test("under PM2's cluster mode no line is lost when the files are opened anew, whatever becomes of PM2's own stream", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'log-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, 'worker.log');
  const code = `
    import { createLog } from '${LOG}';
    // PM2's stream in the moment in which it is opened anew: it takes lines, and keeps none.
    process.stdout.write = () => true;
    const log = createLog('test', 'info');
    let n = 0;
    const more = () => { for (let i = 0; i < 100; i++) log.warn({ n: n++ }, 'line'); };
    more();
    process.send('written');
    process.on('message', () => {
      more();
      process.send('written');
    });`;
  const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', code], {
    cwd: ROOT,
    env: { ...process.env, pm_out_log_path: path },
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  t.after(() => child.kill('SIGKILL'));
  const told: string[] = [];
  let written = 0;
  child.on('message', (message: string | { type: string; data: string }) => {
    if (message === 'written') written++;
    else if (typeof message === 'object' && message.type === 'log:out') told.push(message.data);
  });
  const untilWritten = (times: number) =>
    until(
      () => written >= times,
      20_000,
      () => `${written} times`,
    );
  await untilWritten(1);
  for (const turn of [1, 2]) {
    renameSync(path, `${path}.${turn}`);
    child.send({ type: 'log:reload' });
    await untilWritten(turn + 1);
  }
  const gone = once(child, 'exit');
  child.disconnect();
  await gone;
  const numbers = (text: string) =>
    text
      .split('\n')
      .filter(Boolean)
      .map((line) => (JSON.parse(line) as { n: number }).n);
  const files = [`${path}.1`, `${path}.2`, path].map((each) => numbers(readFileSync(each, 'utf8')));
  assert.deepEqual(
    files.flat(),
    Array.from({ length: 300 }, (_, n) => n),
  );
  assert.ok(files.every((each) => each.length > 0));
  // Whoever looks at the terminal sees them too.
  assert.deepEqual(numbers(told.join('')), files.flat());
});

test('a process whose log nobody reads any more ends when it should, and not before', async (t) => {
  const { child, lines } = run(`
    process.on('uncaughtException', (error) => { log.error({ error }, 'died'); process.exit(1); });
    log.warn({ n: 1 }, 'up');
    setTimeout(() => { log.warn({ n: 2 }, 'unread'); log.info({ n: 3 }, 'unread'); process.exit(7); }, 200);
  `);
  t.after(() => child.kill('SIGKILL'));
  await once(child.stdout, 'data');
  assert.equal(lines().length, 1);
  child.stdout.destroy();
  const [code] = await once(child, 'exit', { signal: AbortSignal.timeout(10_000) });
  assert.equal(code, 7);
});
