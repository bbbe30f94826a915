import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import test, { type TestContext } from 'node:test';
import { cpuShare, NodeWatch, queueLength, workerMemoryMb } from './nodes.ts';
import { parsePrometheus } from './prometheus.ts';

/** Answers every path from a table of texts. */
async function source(
  t: TestContext,
  texts: (path: string, request: http.IncomingMessage) => string | undefined,
): Promise<string> {
  const server = http.createServer((request, response) => {
    const text = texts(request.url ?? '', request);
    response.writeHead(text === undefined ? 404 : 200).end(text);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test('samples are read with labels, escapes and special values; all else is passed over', () => {
  const text = [
    '# HELP x something',
    'plain 1',
    'one{a="x",b="say \\"hi\\"\\n"} 2.5e3 1700000000000',
    'edge{le="+Inf"} +Inf',
    'nothing',
    'broken{ 1',
  ].join('\n');
  assert.deepEqual(parsePrometheus(text), [
    { name: 'plain', labels: {}, value: 1 },
    { name: 'one', labels: { a: 'x', b: 'say "hi"\n' }, value: 2500 },
    { name: 'edge', labels: { le: '+Inf' }, value: Number.POSITIVE_INFINITY },
  ]);
});

test('the largest worker counts, and the agent itself does not', () => {
  const samples = parsePrometheus(
    'process_resident_memory_bytes 900000000\nprocess_resident_memory_bytes{worker="0"} 310000000\nprocess_resident_memory_bytes{worker="1"} 320000000',
  );
  assert.equal(workerMemoryMb(samples), 320);
  assert.equal(workerMemoryMb([]), null);
});

test('the queue is the sum of its classes', () => {
  assert.equal(
    queueLength(
      parsePrometheus(
        'toonfleet_queue_length{class="interactive"} 3\ntoonfleet_queue_length{class="batch"} 4',
      ),
    ),
    7,
  );
  assert.equal(queueLength([]), null);
});

test('CPU is what was busy between two moments', () => {
  assert.equal(cpuShare({ busy: 10, total: 40 }, { busy: 13, total: 44 }), 0.75);
  assert.equal(cpuShare({ busy: 10, total: 40 }, { busy: 10, total: 40 }), null);
});

test('the busiest node and the largest worker of all agents are told; the node key is sent', async (t) => {
  const keys: unknown[] = [];
  const agent = (busy: number, memory: number) => {
    let asked = 0;
    return source(t, (path, request) => {
      keys.push(request.headers['x-node-key']);
      if (path !== '/metrics') return undefined;
      asked += 1;
      return `toonfleet_node_cpu_seconds_total{mode="busy"} ${busy * asked}\ntoonfleet_node_cpu_seconds_total{mode="idle"} ${(1 - busy) * asked}\nprocess_resident_memory_bytes{worker="a"} ${memory}`;
    });
  };
  const admin = await source(t, () => 'toonfleet_queue_length{class="interactive"} 5');
  const agents = [await agent(0.4, 3e8), await agent(0.9, 2e8)];
  const watch = new NodeWatch({ agents, admin, nodeKey: 'a-secret-of-the-fleet' });
  await watch.start();
  watch.stop();
  assert.deepEqual(watch.takeReadings().cpu, null, 'one look tells no CPU');
  await watch.start();
  watch.stop();
  assert.deepEqual(
    [watch.reading.cpu?.toFixed(2), watch.reading.workerMemoryMb, watch.reading.queueLength],
    ['0.90', 300, 5],
  );
  assert.ok(keys.every((key) => key === 'a-secret-of-the-fleet'));
  assert.deepEqual(watch.takeReadings(), { cpu: watch.reading.cpu, workerMemoryMb: 300, queueLength: 5 });
  assert.deepEqual(watch.takeReadings(), { cpu: null, workerMemoryMb: null, queueLength: null });
});

test('an agent that does not answer leaves its figures unmeasured and is named', async () => {
  const watch = new NodeWatch({ agents: ['http://127.0.0.1:1'], admin: undefined });
  await watch.start();
  watch.stop();
  assert.deepEqual(watch.reading, { cpu: null, workerMemoryMb: null, queueLength: null });
  assert.deepEqual(watch.silent, ['http://127.0.0.1:1']);
  assert.equal(await watch.fleet(), null);
});

test('nodes and ready slots are counted from the rosters', async (t) => {
  const worker = (id: string, state: string) => ({
    id,
    pid: 7,
    url: 'http://127.0.0.1:8100',
    slots: 1,
    state,
    models: [],
    busy: 0,
    ms_per_megapixel: null,
  });
  const roster = {
    node: 'vm-1',
    zone: 'default',
    release: '1',
    preemptible: false,
    draining: false,
    workers: [worker('a', 'ready'), worker('b', 'ready'), worker('c', 'loading')],
  };
  const agent = await source(t, (path) => (path === '/v1/node' ? JSON.stringify(roster) : undefined));
  assert.deepEqual(await new NodeWatch({ agents: [agent], admin: undefined }).fleet(), {
    nodes: 1,
    slots: 2,
  });
});
