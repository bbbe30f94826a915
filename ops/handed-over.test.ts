import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { pathToFileURL } from 'node:url';
import { PACKAGE_ROOT } from './process/package.ts';

/** Forks as many processes as it is told, which answer with their pid; its parent decides what becomes of the first. */
const PRIMARY = `
import cluster from 'node:cluster';
import http from 'node:http';
if (cluster.isPrimary) {
  let ready = 0;
  const workers = Array.from({ length: Number(process.argv[2]) }, () => cluster.fork());
  cluster.on('listening', (_, { port }) => {
    if (++ready === workers.length) process.send({ port, first: workers[0].process.pid });
  });
  process.on('disconnect', () => {
    for (const { process: child } of workers) child.kill('SIGKILL');
    process.exit();
  });
} else http.createServer((_, response) => response.end(String(process.pid))).listen(Number(process.argv[3]), '127.0.0.1');
`;

async function clusterOf(t: TestContext, processes: number) {
  const folder = mkdtempSync(join(tmpdir(), 'toonfleet-'));
  const script = join(folder, 'primary.mjs');
  writeFileSync(script, PRIMARY);
  const preload = pathToFileURL(join(PACKAGE_ROOT, 'ops/handed-over.ts')).href;
  const primary: ChildProcess = spawn(
    process.execPath,
    ['--import', 'tsx', '--import', preload, script, String(processes), String(await freePort())],
    { cwd: PACKAGE_ROOT, stdio: ['ignore', 'inherit', 'inherit', 'ipc'] },
  );
  t.after(async () => {
    const gone = once(primary, 'exit');
    primary.disconnect();
    await gone;
    rmSync(folder, { recursive: true, force: true });
  });
  const [ready] = (await once(primary, 'message')) as [{ port: number; first: number }];
  return ready;
}

/** A port that was free a moment ago: processes that share one cannot be asked for any. */
async function freePort(): Promise<number> {
  const server = http.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

/** Asks over a connection of its own; resolves with who answered, or with the error's code. `connected` settles before. */
function ask(port: number) {
  const request = http.get({ host: '127.0.0.1', port, agent: false });
  const answered = new Promise<string>((resolve) => {
    request.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    request.on('response', async (response) => {
      let text = '';
      for await (const part of response) text += part;
      resolve(text);
    });
  });
  const connected = once(request, 'socket').then(([socket]) => once(socket, 'connect'));
  return { connected, answered };
}

/** Stops the first process, has as many clients as are sent arrive meanwhile, and kills it. */
async function killedWhileStopped(port: number, first: number, clients: number): Promise<string[]> {
  process.kill(first, 'SIGSTOP');
  const asked = Array.from({ length: clients }, () => ask(port));
  await Promise.all(asked.map(({ connected }) => connected));
  process.kill(first, 'SIGKILL');
  return Promise.all(asked.map(({ answered }) => answered));
}

test('a connection that a dying process was handed is answered by the next one', async (t) => {
  const { port, first } = await clusterOf(t, 2);
  const answers = await killedWhileStopped(port, first, 6);
  assert.ok(
    answers.every((answer) => /^\d+$/.test(answer) && answer !== String(first)),
    String(answers),
  );
});

test('where no other process listens its client hears that the connection is gone', async (t) => {
  const { port, first } = await clusterOf(t, 1);
  assert.deepEqual(await killedWhileStopped(port, first, 1), ['ECONNRESET']);
});
