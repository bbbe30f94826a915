// Starts what the balancer is measured against, and the balancer itself: each on a free port, with a folder of its own,
// in front of the same workers. Rivals are the system's nginx and HAProxy; where they are missing they are left out.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import net, { type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { PACKAGE_ROOT } from '../../ops/process/package.ts';

/** The balancer as this file itself runs: compiled, or as it was written. */
const MAIN = join(import.meta.dirname, `../../balancer/main${extname(import.meta.filename)}`);

/** What is measured. */
export const contenders = [
  'toonfleet cost',
  'toonfleet fifo',
  'haproxy tuned',
  'haproxy leastconn',
  'nginx least_conn',
] as const;
export type Contender = (typeof contenders)[number];

/** A front that listens. */
export interface Front {
  readonly url: string;
  stop(): Promise<void>;
}

/** Workers behind a front. */
export interface Behind {
  readonly urls: readonly string[];
  /** Pictures that one of them may have at once. */
  readonly slots: number;
  readonly deadlineMs: number;
  /** The longest service time; what a tuned queue timeout leaves for it. */
  readonly serviceMs: number;
}

/** Whether a contender can be run here. */
export function available(contender: Contender): boolean {
  const [program = ''] = contender.split(' ');
  return program === 'toonfleet' || spawnSync(program, ['-v']).status === 0;
}

/** Starts one contender; resolves when it answers. */
export async function startFront(contender: Contender, behind: Behind): Promise<Front> {
  const dir = mkdtempSync(join(tmpdir(), 'toonfleet-bench-'));
  const port = await freePort();
  const child =
    contender === 'toonfleet cost' || contender === 'toonfleet fifo'
      ? await startToonfleet(contender, port, dir, behind)
      : contender === 'nginx least_conn'
        ? startNginx(port, dir, behind)
        : startHaproxy(contender, port, dir, behind);
  const exited = once(child, 'exit');
  const url = `http://127.0.0.1:${port}`;
  try {
    await untilReady(url, child, contender);
  } catch (error) {
    child.kill('SIGKILL');
    rmSync(dir, { recursive: true, force: true });
    throw error;
  }
  return {
    url,
    async stop() {
      child.kill('SIGKILL');
      // nginx's and HAProxy's workers are children of their master and end with it.
      await exited;
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

async function startToonfleet(
  contender: Contender,
  port: number,
  dir: string,
  { urls, slots, deadlineMs }: Behind,
): Promise<ChildProcess> {
  const admin = await freePort();
  return spawn(process.execPath, [...process.execArgv, MAIN], {
    cwd: PACKAGE_ROOT,
    stdio: ['ignore', 'ignore', 'inherit'],
    env: {
      ...process.env,
      TOONFLEET_DATA_DIR: dir,
      TOONFLEET_NODE__NAME: 'bench',
      TOONFLEET_BALANCER__HOST: '127.0.0.1',
      TOONFLEET_BALANCER__PORT: String(port),
      TOONFLEET_BALANCER__ADMIN_PORT: String(admin),
      TOONFLEET_BALANCER__ORDER: contender === 'toonfleet fifo' ? 'fifo' : 'cost',
      TOONFLEET_BALANCER__DEADLINE: `${deadlineMs}ms`,
      TOONFLEET_UPSTREAMS: JSON.stringify(urls.map((url) => ({ url, slots }))),
    },
  });
}

function startNginx(port: number, dir: string, { urls }: Behind): ChildProcess {
  for (const name of ['body', 'proxy']) mkdirSync(join(dir, name));
  const servers = urls.map((url) => `server ${new URL(url).host};`).join(' ');
  writeFileSync(
    join(dir, 'nginx.conf'),
    `daemon off; master_process off; pid ${dir}/pid; error_log /dev/null;
events { worker_connections 4096; }
http {
  access_log off; client_max_body_size 25m; client_body_buffer_size 1m;
  client_body_temp_path ${dir}/body; proxy_temp_path ${dir}/proxy;
  fastcgi_temp_path ${dir}/proxy; uwsgi_temp_path ${dir}/proxy; scgi_temp_path ${dir}/proxy;
  upstream workers { least_conn; ${servers} keepalive 64; }
  server {
    listen 127.0.0.1:${port} backlog=1024;
    location / {
      proxy_pass http://workers; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_next_upstream error timeout non_idempotent; proxy_connect_timeout 1s; proxy_read_timeout 60s;
    }
  }
}
`,
  );
  return spawn('nginx', ['-p', dir, '-c', join(dir, 'nginx.conf')], { stdio: 'ignore' });
}

function startHaproxy(
  contender: Contender,
  port: number,
  dir: string,
  { urls, slots, deadlineMs, serviceMs }: Behind,
): ChildProcess {
  const tuned = contender === 'haproxy tuned';
  const servers = urls.map(
    (url, index) =>
      `  server w${index} ${new URL(url).host} check inter 500ms fall 2 rise 2${tuned ? ` maxconn ${slots}` : ''}`,
  );
  writeFileSync(
    join(dir, 'haproxy.cfg'),
    `global
  maxconn 4096
defaults
  mode http
  timeout connect 1s
  timeout client 60s
  timeout server 60s
  timeout queue ${tuned ? Math.max(1, deadlineMs - serviceMs) : 60_000}ms
  option httpchk GET /ready
  http-reuse always
  retries 3
  option redispatch 1
  retry-on conn-failure empty-response
frontend front
  bind 127.0.0.1:${port} backlog 1024
  default_backend workers
backend workers
  balance leastconn
${servers.join('\n')}
`,
  );
  return spawn('haproxy', ['-db', '-f', join(dir, 'haproxy.cfg')], { stdio: 'ignore' });
}

/** Waits until a front answers that its workers are ready, and its checks have seen all of them. */
async function untilReady(url: string, child: ChildProcess, name: string): Promise<void> {
  const until = performance.now() + 20_000;
  while (performance.now() < until) {
    if (child.exitCode !== null) throw new Error(`${name} ended with ${child.exitCode}`);
    const status = await new Promise<number>((resolve) => {
      http
        .get(`${url}/ready`, { agent: false }, (response) => {
          response.resume();
          resolve(response.statusCode ?? 0);
        })
        .on('error', () => resolve(0));
    });
    if (status === 200) return void (await sleep(1000));
    await sleep(100);
  }
  throw new Error(`${name} did not become ready`);
}

async function freePort(): Promise<number> {
  const server = net.createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
