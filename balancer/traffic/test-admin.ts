// For tests: a balancer with its admin port open, state in a folder of its own, and agents that a test plays.

import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { NodeRoster } from '../../config/contract.ts';
import { startBalancer, type TestUpstream } from '../passage/test-upstream.ts';

export const TOKEN = 'correct-horse-battery';

/** A folder that is taken away after the test. */
export function dataDir(context: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'front-'));
  context.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** A balancer and a way to call its admin API. */
export async function startAdmin(
  context: TestContext,
  upstreams: Parameters<typeof startBalancer>[1],
  env: Readonly<Record<string, string>> = {},
  expectUsable = upstreams.length,
) {
  const balancer = await startBalancer(
    context,
    upstreams,
    { TOONFLEET_BALANCER__ADMIN_TOKEN: TOKEN, TOONFLEET_DATA_DIR: dataDir(context), ...env },
    expectUsable,
  );
  balancer.adminServer.listen(0, '127.0.0.1');
  await once(balancer.adminServer, 'listening');
  context.after(() => {
    balancer.state.close();
    balancer.endAdminStreams();
    balancer.adminServer.close();
    balancer.adminServer.closeAllConnections();
  });
  const adminUrl = `http://127.0.0.1:${(balancer.adminServer.address() as AddressInfo).port}`;
  const admin = async (method: string, path: string, body?: unknown) => {
    const response = await fetch(`${adminUrl}/admin/v1/${path}`, {
      method,
      headers: { authorization: `Bearer ${TOKEN}` },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      signal: AbortSignal.timeout(20_000),
    });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  };
  return { ...balancer, adminUrl, admin };
}

/** An agent that a test plays: it lists these upstreams as workers of one node, and keeps its drain in memory. */
export class TestAgent {
  roster: NodeRoster;
  /** Balancers that were given the roster since the drain was last turned. */
  readonly given = new Set<string>();
  /** What it answers instead of its roster. */
  lie: ((response: http.ServerResponse) => void) | undefined;
  #url = '';
  readonly #server = http.createServer((request, response) => this.#answer(request, response));

  constructor(node: string, release: string, upstreams: readonly TestUpstream[]) {
    this.roster = {
      node,
      zone: 'default',
      release,
      preemptible: false,
      draining: false,
      workers: upstreams.map(({ url }, index) => ({
        id: `${node}-${index}`,
        pid: index + 1,
        url,
        slots: 1,
        state: 'ready',
        models: ['meadow'],
        busy: 0,
        ms_per_megapixel: null,
      })),
    };
  }

  get url(): string {
    return this.#url;
  }

  async listen(context: TestContext): Promise<this> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    this.#url = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
    context.after(() => this.close());
    return this;
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  #answer(request: http.IncomingMessage, response: http.ServerResponse): void {
    if (request.url === '/v1/node') {
      if (this.lie) {
        this.lie(response);
        return;
      }
      const balancer = request.headers['x-balancer'];
      if (typeof balancer === 'string') this.given.add(balancer);
      response.end(JSON.stringify(this.roster));
      return;
    }
    if (request.method !== 'GET') {
      const draining = request.method === 'PUT';
      if (draining !== this.roster.draining) this.given.clear();
      this.roster = { ...this.roster, draining };
    }
    const { draining } = this.roster;
    response.end(JSON.stringify({ draining, seen: this.given.size > 0, busy: 0 }));
  }
}
