import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import type { NodeRoster, RosterWorker } from '../../config/contract.ts';
import { SILENT } from '../../ops/process/log.ts';
import type { Asked } from './ask.ts';
import { Roster, type RosterOptions } from './roster.ts';

const worker = (more: Partial<RosterWorker> = {}): RosterWorker => ({
  id: 'w0',
  pid: 10,
  url: 'http://10.0.0.1:8100',
  slots: 1,
  state: 'ready',
  models: [],
  busy: 0,
  ms_per_megapixel: null,
  ...more,
});
const rosterOf = (workers: RosterWorker[], more: Partial<NodeRoster> = {}): Asked => ({
  kind: 'answer',
  status: 200,
  body: {
    node: 'vm-1',
    zone: 'default',
    release: '1',
    preemptible: false,
    draining: false,
    workers,
    ...more,
  },
});

/** A roster whose agent gives these answers one after the other; resolves with what the consumer heard. */
async function heard(
  context: TestContext,
  answers: readonly Asked[],
  more: Partial<RosterOptions> = {},
): Promise<string[]> {
  const events: string[] = [];
  const left = [...answers];
  let done: () => void = () => {};
  const finished = new Promise<void>((resolve) => {
    done = resolve;
  });
  const roster = new Roster({
    ask: async (_target, _path, headers) => {
      assert.equal(headers['x-balancer'], 'front-1');
      const answer = left.shift();
      if (answer) return answer;
      done();
      return { kind: 'refused' };
    },
    agents: [{ agent: 'http://10.0.0.1:8001' }],
    upstreams: [],
    intervalMs: 1,
    timeoutMs: 100,
    name: 'front-1',
    nodeKey: undefined,
    log: SILENT,
    consumer: {
      put: ({ id, slots, node, nodeDraining }) =>
        events.push(`put ${id} ${slots} ${node}${nodeDraining ? ' draining' : ''}`),
      leaving: (id) => events.push(`leaving ${id}`),
      removed: (id) => events.push(`removed ${id}`),
      expectedToGo: () => false,
    },
    ...more,
  });
  context.after(() => roster.close());
  await roster.start();
  await finished;
  return events;
}

const PUT = 'put http://10.0.0.1:8100#10 1 vm-1';

test('a worker on the roster is taken in, with its node', async (context) => {
  assert.deepEqual(await heard(context, [rosterOf([worker()])]), [PUT]);
});

test('the draining of a worker and of a node are told', async (context) => {
  assert.deepEqual(await heard(context, [rosterOf([worker({ state: 'draining' })])]), [
    PUT,
    'leaving http://10.0.0.1:8100#10',
  ]);
  assert.deepEqual(await heard(context, [rosterOf([worker()], { draining: true })]), [`${PUT} draining`]);
});

test('an agent that does not answer, or lies, changes nothing', async (context) => {
  const lies: Asked[] = [
    { kind: 'refused' },
    { kind: 'failed', why: 'slow' },
    { kind: 'answer', status: 401, body: {} },
    { kind: 'answer', status: 200, body: 'hello' },
    rosterOf([worker({ slots: 0 })]),
    rosterOf([worker({ url: 'not a url' })]),
  ];
  assert.deepEqual(await heard(context, [rosterOf([worker()]), ...lies]), [PUT]);
});

test('a worker that vanishes without a goodbye stays for some rosters', async (context) => {
  const events = await heard(context, [
    rosterOf([worker()]),
    ...Array.from({ length: 4 }, () => rosterOf([])),
  ]);
  assert.deepEqual(events, [PUT]);
  const longer = await heard(context, [
    rosterOf([worker()]),
    ...Array.from({ length: 5 }, () => rosterOf([])),
  ]);
  assert.deepEqual(longer, [PUT, 'removed http://10.0.0.1:8100#10']);
});

test('a worker that said goodbye is removed at once', async (context) => {
  const consumer = { put() {}, leaving() {}, expectedToGo: () => true };
  const removed: string[] = [];
  await heard(context, [rosterOf([worker()]), rosterOf([])], {
    consumer: { ...consumer, removed: (id) => removed.push(id) },
  });
  assert.deepEqual(removed, ['http://10.0.0.1:8100#10']);
});

test('the next process on the same port is another worker', async (context) => {
  const events = await heard(context, [rosterOf([worker()]), rosterOf([worker({ pid: 11 })])]);
  assert.deepEqual(events, [PUT, 'put http://10.0.0.1:8100#11 1 vm-1']);
});

test('plain upstreams of the settings are taken in', async (context) => {
  const events = await heard(context, [], { upstreams: [{ url: 'http://10.0.0.9:8100', slots: 2 }] });
  assert.deepEqual(events, ['put http://10.0.0.9:8100 2 undefined']);
});

const LIES: { name: string; lie: RosterWorker; says: RegExp; fault: string }[] = [
  { name: 'no slots', lie: worker({ id: 'w1', pid: 11, slots: 0 }), says: /slots/, fault: 'bad_worker' },
  {
    name: 'a worker on another machine',
    lie: worker({ id: 'w1', pid: 11, url: 'http://10.0.0.2:8101' }),
    says: /10\.0\.0\.2:8101, which is not on its own machine 10\.0\.0\.1/,
    fault: 'foreign_worker',
  },
  {
    name: "the balancer's own machine",
    lie: worker({ id: 'w1', pid: 11, url: 'http://127.0.0.1:8081' }),
    says: /not on its own machine/,
    fault: 'foreign_worker',
  },
  {
    name: 'its own port',
    lie: worker({ id: 'w1', pid: 11, url: 'http://10.0.0.1:8001' }),
    says: /its own port 8001/,
    fault: 'foreign_worker',
  },
  {
    name: 'an address that is none of HTTP',
    lie: worker({ id: 'w1', pid: 11, url: 'ftp://10.0.0.1:8101' }),
    says: /no HTTP address/,
    fault: 'bad_worker',
  },
  { name: 'a worker twice', lie: worker({ id: 'w1' }), says: /twice/, fault: 'bad_worker' },
];
for (const { name, lie, says, fault } of LIES)
  test(`an agent that lists ${name} is told so once; the row is left out, the others stand and nobody is forgotten`, async (context) => {
    const told: string[] = [];
    const faults: string[] = [];
    const log = { ...SILENT, warn: (fields: object) => told.push(JSON.stringify(fields)) };
    const events = await heard(
      context,
      [
        rosterOf([worker(), worker({ id: 'w2', pid: 12 })]),
        ...Array.from({ length: 7 }, () => rosterOf([worker(), lie])),
      ],
      { log, onFault: (each) => faults.push(each) },
    );
    const other = 'put http://10.0.0.1:8100#12 1 vm-1';
    assert.deepEqual([...new Set(events)], [PUT, other]);
    assert.deepEqual(faults, Array(7).fill(fault));
    const [line = ''] = told;
    assert.match(line, says);
    assert.equal(told.filter((each) => each.includes('it lists')).length, 1);
  });

test('a worker for which another agent speaks already stays with that one', async (context) => {
  const faults: string[] = [];
  const claims = [rosterOf([worker()]), rosterOf([worker()])];
  const put: string[] = [];
  const roster = new Roster({
    ask: async () => claims.shift() ?? { kind: 'refused' },
    agents: [{ agent: 'http://10.0.0.1:8001' }, { agent: 'http://10.0.0.1:9001' }],
    upstreams: [],
    intervalMs: 60_000,
    timeoutMs: 100,
    name: 'front-1',
    nodeKey: undefined,
    log: SILENT,
    consumer: { put: ({ id }) => put.push(id), leaving() {}, removed() {}, expectedToGo: () => false },
    onFault: (fault) => faults.push(fault),
  });
  context.after(() => roster.close());
  await roster.start();
  assert.equal(put.length, 1);
  assert.deepEqual(faults, ['taken_worker']);
  assert.deepEqual(
    roster.members().map(({ upstreams }) => upstreams.length),
    [1, 0],
  );
});
