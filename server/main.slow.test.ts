// A worker as a process of its own: it starts, serves both ports, and leaves without cutting anybody off.

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { Agent } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import test, { type TestContext } from 'node:test';
import { PACKAGE_ROOT } from '../ops/process/package.ts';
import { jpeg } from './test-pictures.ts';
import { ask } from './test-worker.ts';

interface Line {
  readonly message: string;
  readonly port?: number;
  readonly shared_port?: number;
}

/** A run of free ports, found by asking for one and hoping for its neighbours. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  return Math.min(port, 65_000);
}

async function startProcess(t: TestContext, env: Record<string, string> = {}) {
  const dir = await mkdtemp(join(tmpdir(), 'toonfleet-'));
  const first = await freePort();
  const child: ChildProcess = spawn(
    process.execPath,
    ['--import', import.meta.resolve('tsx'), join(PACKAGE_ROOT, 'server/main.ts')],
    {
      cwd: dir,
      env: {
        PATH: process.env.PATH,
        TOONFLEET_WORKER__SHARED_PORT: '0',
        TOONFLEET_WORKER__PORT_FIRST: String(first),
        TOONFLEET_WORKER__PORT_LAST: String(first + 400),
        TOONFLEET_AGENT__PORT: '1',
        TOONFLEET_MODELS__LOAD: '["meadow"]',
        ...env,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  t.after(async () => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    await rm(dir, { recursive: true, force: true });
  });
  const lines: Line[] = [];
  const waiting: { message: string; resolve: (line: Line) => void; reject: (error: Error) => void }[] = [];
  let stderr = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    stderr += chunk.toString('utf8');
  });
  if (child.stdout) {
    createInterface(child.stdout).on('line', (text) => {
      const line = JSON.parse(text) as Line;
      lines.push(line);
      for (const each of waiting.filter(({ message }) => line.message.includes(message))) each.resolve(line);
    });
  }
  // Not at its exit: what it said last may still be on its way.
  const exited = once(child, 'close').then(([code]) => {
    for (const { reject, message } of waiting)
      reject(new Error(`ended with ${code} before "${message}": ${stderr}${JSON.stringify(lines)}`));
    return code as number | null;
  });
  const said = (message: string) =>
    new Promise<Line>((resolve, reject) => {
      const line = lines.find((each) => each.message.includes(message));
      if (line) resolve(line);
      else waiting.push({ message, resolve, reject });
    });
  exited.catch(() => {});
  return { child, said, exited, dir, stderr: () => stderr };
}

test('a worker starts without PM2, draws on both ports, and leaves on SIGINT with 0', async (t) => {
  const { child, said, exited } = await startProcess(t);
  const { port = 0, shared_port: shared = 0 } = await said('serving');
  await said('ready');
  const photo = await jpeg();
  for (const each of [port, shared]) {
    const { status } = await ask(each, '/v1/images', {
      body: photo,
      headers: { 'content-type': 'image/jpeg' },
    });
    assert.equal(status, 200);
  }
  child.kill('SIGINT');
  assert.equal(await exited, 0);
});

test('keep-alive clients of the shared port lose nothing when the worker leaves', async (t) => {
  const { child, said, exited } = await startProcess(t, { TOONFLEET_WORKER__DRAIN_GRACE: '10s' });
  const { shared_port: shared = 0 } = await said('serving');
  const photo = await jpeg(64, 64);
  const clients = Array.from({ length: 4 }, async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    let answers = 0;
    for (;;) {
      const answer = await ask(shared, '/v1/images?max_side=64', { body: photo, agent });
      assert.equal(answer.status, 200);
      answers++;
      if (answers === 3) child.kill('SIGINT');
      if (answer.headers.connection === 'close') break;
    }
    agent.destroy();
    return answers;
  });
  for (const answers of await Promise.all(clients)) assert.ok(answers >= 3);
  assert.equal(await exited, 0);
});

for (const [name, defaultStyle] of [
  ['a corrupt model is left out, said so, and the others draw', 'meadow'],
  [
    'a corrupt model of the default style keeps the worker from ready, and /ready says which and what to do',
    'mine',
  ],
] as const) {
  test(name, async (t) => {
    const models = await mkdtemp(join(tmpdir(), 'toonfleet-'));
    t.after(() => rm(models, { recursive: true }));
    const embedded = join(PACKAGE_ROOT, 'server/models');
    await cp(join(embedded, 'embedded/ink.onnx'), join(models, 'mine.onnx'));
    const manifest = {
      models: [
        {
          name: 'mine',
          file: 'mine.onnx',
          sha256: '0'.repeat(64),
          kind: 'generator',
          layout: 'NHWC',
          channels: 'RGB',
          input: { type: 'uint8', range: [0, 255] },
          output: { type: 'uint8', range: [0, 255] },
          styles: [{ id: 'mine', title: 'Mine' }],
          licence: 'x',
          golden: { seed: 1, means: 'AAAA' },
        },
      ],
    };
    await writeFile(join(models, 'manifest.yaml'), JSON.stringify(manifest));
    const { said, child, exited } = await startProcess(t, {
      TOONFLEET_MODELS__DIR: models,
      TOONFLEET_MODELS__DEFAULT_STYLE: defaultStyle,
      TOONFLEET_MODELS__LOAD: '["meadow", "mine"]',
    });
    const { port = 0 } = await said('loading models');
    await said('model mine');
    if (defaultStyle === 'mine') {
      const ready = await ask(port, '/ready');
      assert.equal(ready.status, 503);
      assert.match(String(ready.json().detail), /mine\.onnx.*SHA-256.*toonfleet models verify/);
      assert.equal((await ask(port, '/live')).status, 200);
    } else {
      await said('ready');
      const { styles } = (await ask(port, '/v1/styles')).json() as { styles: { id: string }[] };
      assert.deepEqual(
        styles.map(({ id }) => id),
        ['meadow'],
      );
    }
    child.kill('SIGINT');
    assert.equal(await exited, 0);
  });
}

test('a wrong setting ends the start with 78 and its name', async (t) => {
  const { exited, stderr } = await startProcess(t, { TOONFLEET_WORKER__QUEUE_LENGTH: 'many' });
  assert.equal(await exited, 78);
  assert.match(stderr(), /worker\.queue_length/);
});

test('a taken shared port ends the start with 1 and says what to set', async (t) => {
  const squatter = createServer().listen(0, '127.0.0.1');
  await once(squatter, 'listening');
  t.after(() => squatter.close());
  const { port } = squatter.address() as AddressInfo;
  const { said, exited } = await startProcess(t, { TOONFLEET_WORKER__SHARED_PORT: String(port) });
  const line = JSON.stringify(await said('could not start'));
  assert.match(line, new RegExp(`port ${port}.*worker\\.shared_port`));
  assert.equal(await exited, 1);
});
