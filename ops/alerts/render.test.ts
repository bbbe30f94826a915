import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import type { AdminStatus, NodeStatus } from '../../config/admin.ts';
import { loadSettings } from '../../config/load.ts';
import { renderPrometheus } from './render.ts';

const ADDED: NodeStatus = {
  id: 'vm-4',
  kind: 'agent',
  url: 'http://10.0.0.14:8001',
  from: 'admin',
  release: null,
  draining: false,
  available: true,
  slots: 2,
  slots_in_service: 2,
  in_flight: 0,
  zone: null,
  scale: null,
  fault: null,
};
const STATUS: AdminStatus = {
  version: '1.0.0',
  status: 'ready',
  paused: false,
  min_available: 1,
  queue: { interactive: 0, batch: 0 },
  load: { busy: 0, mean_ms: 0, p95_ms: 0, wait_ms: 0 },
  spare: {
    slots: 2,
    needed: 0,
    zones: [],
    without_largest_zone: { zone: null, slots: 0, enough: true },
    without_a_node_of_each_zone: { slots: 0, enough: true },
  },
  traffic: { weights: null, rollback: null, rolled_back: null },
  nodes: [ADDED],
  upstreams: [],
};

test('a node that only the balancer was told of is read by Prometheus too', async (context) => {
  const folder = mkdtempSync(join(tmpdir(), 'alerts-'));
  context.after(() => rmSync(folder, { recursive: true, force: true }));
  const admin = http.createServer((_request, response) => response.end(JSON.stringify(STATUS)));
  admin.listen(0, '127.0.0.1');
  await once(admin, 'listening');
  context.after(() => {
    admin.closeAllConnections();
    admin.close();
  });
  const env = {
    TOONFLEET_BALANCER__ADMIN_TOKEN: 'an admin token of a test',
    TOONFLEET_BALANCER__ADMIN_PORT: String((admin.address() as AddressInfo).port),
    TOONFLEET_NODES: '[{"agent":"http://10.0.0.11:8001"}]',
  };
  assert.equal(await renderPrometheus(loadSettings({ cwd: '/srv', env }), folder), 0);
  const text = readFileSync(join(folder, 'prometheus.yml'), 'utf8');
  assert.match(text, /10\.0\.0\.11:8001/);
  assert.match(text, /10\.0\.0\.14:8001/);
});
