import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import type { AdminStatus } from '../../config/admin.ts';
import { loadSettings } from '../../config/load.ts';
import type { HookEnd } from '../process/hook.ts';
import { SILENT } from '../process/log.ts';
import { Autoscaler } from './autoscaler.ts';

type State = 'works' | 'off' | 'drained';

/** A fleet of two VMs behind an admin API that a test plays; programs that start and stop them. */
function fleetFor(context: TestContext, env: Record<string, string> = {}) {
  const cwd = mkdtempSync(join(tmpdir(), 'autoscale-'));
  context.after(() => rmSync(cwd, { recursive: true, force: true }));
  const settings = loadSettings({
    cwd,
    env: {
      TOONFLEET_AUTOSCALE__WAKE: '["/wake"]',
      TOONFLEET_AUTOSCALE__PARK: '["/park", "now"]',
      TOONFLEET_AUTOSCALE__DOWN_AFTER: '0s',
      ...env,
    },
  });
  const fleet = {
    now: 1_000_000,
    busy: 0,
    states: { 'vm-1': 'works', 'vm-2': 'works' } as Record<string, State>,
    calls: [] as string[],
    runs: [] as Record<string, string>[],
    drained: true,
    refusal: undefined as string | undefined,
    /** Whether the answer to a drain comes back. */
    answers: true,
    /** Whether a VM can be told to work again. */
    undrains: true,
    /** Slots that pictures of a second balancer take; undefined while it does not answer. */
    elsewhere: 0 as number | undefined,
    hook: (async () => ({ kind: 'done' })) as () => Promise<HookEnd>,
  };
  const status = (busy: number): AdminStatus => {
    const working = Object.values(fleet.states).filter((state) => state === 'works').length;
    return {
      version: '0',
      status: 'ready',
      paused: false,
      min_available: 1,
      queue: { interactive: 0, batch: 0 },
      load: { busy, mean_ms: 0, p95_ms: 0, wait_ms: 0 },
      spare: {
        slots: 2 * working,
        needed: Math.ceil(busy),
        zones: [],
        without_largest_zone: { zone: null, slots: 0, enough: false },
        without_a_node_of_each_zone: { slots: 0, enough: false },
      },
      traffic: { weights: null, rollback: null, rolled_back: null },
      nodes: Object.entries(fleet.states).map(([id, state]) => ({
        id,
        kind: 'agent',
        url: `http://${id}:8001`,
        from: 'settings',
        release: '0',
        draining: state === 'drained',
        available: state === 'works',
        slots: 2,
        slots_in_service: state === 'works' ? 2 : 0,
        in_flight: 0,
        zone: 'a',
        scale: null,
        fault: state === 'off' ? 'the agent does not answer: nobody listens there' : null,
      })),
      upstreams: [],
    };
  };
  const call = async (method: string, path: string): Promise<unknown> => {
    if (method === 'GET') return status(fleet.busy);
    const [, id = '', verb = ''] = /nodes\/(.+?)%3A8001\/(\w+)/.exec(path) ?? [];
    fleet.calls.push(`${verb} ${id}`);
    if (verb === 'drain' && fleet.refusal) throw new Error(fleet.refusal);
    if (verb === 'undrain' && !fleet.undrains) throw new Error('its agent does not answer');
    const drained = verb === 'drain';
    if (fleet.states[id] !== 'off') fleet.states[id] = drained ? 'drained' : 'works';
    if (drained && !fleet.answers) throw new Error('The balancer hung up');
    return {
      node: id,
      draining: drained,
      drained: drained && fleet.drained,
      in_flight: fleet.drained ? 0 : 1,
    };
  };
  const other = async (): Promise<unknown> => {
    if (fleet.elsewhere === undefined) throw new Error('No balancer answers');
    return status(fleet.elsewhere);
  };
  const create = (dryRun = false) =>
    new Autoscaler({
      settings: settings.autoscale,
      minAvailable: 1,
      path: join(cwd, 'autoscale.json'),
      dryRun,
      balancers: [call, other],
      run: async (command, variables) => {
        fleet.runs.push({ program: command.join(' '), ...variables });
        return fleet.hook();
      },
      log: SILENT,
      now: () => fleet.now,
    });
  return { fleet, create };
}

test('a VM is drained and parked, and after a restart woken, undrained and waited for', async (context) => {
  const { fleet, create } = fleetFor(context);
  const first = create();
  fleet.hook = async () => {
    fleet.states['vm-1'] = 'off';
    return { kind: 'done' };
  };
  const look = await first.look();
  assert.deepEqual([look.current, look.desired, look.move], [2, 1, 'park']);
  assert.deepEqual(fleet.calls, ['drain vm-1']);
  assert.equal(fleet.runs[0]?.program, '/park now');
  assert.equal(fleet.runs[0]?.SCALE_AGENT, 'http://vm-1:8001');
  assert.match(fleet.runs[0]?.SCALE_REASON ?? '', /^slots: 2 × 0 % \/ 70 %/);

  fleet.busy = 2;
  fleet.hook = async () => ({ kind: 'done' });
  const second = create();
  assert.match((await second.look()).words, /the pause after the last move lasts 300 s more/);
  fleet.now += 300_000;
  assert.equal((await second.look()).move, 'wake');
  assert.equal(fleet.runs[1]?.SCALE_ACTION, 'wake');
  fleet.now += 10_000;
  const third = create();
  assert.match((await third.look()).words, /^vm-1 was woken 10 s ago and does not draw yet/);
  // It boots, and its agent remembers that it was drained.
  fleet.states['vm-1'] = 'drained';
  assert.equal((await third.look()).move, 'wait');
  assert.deepEqual(fleet.calls, ['drain vm-1', 'undrain vm-1']);
  await third.look();
  assert.deepEqual([third.memory.moving, third.memory.parked], [null, []]);
  assert.equal(fleet.runs.length, 2, 'one program a move');
});

test('a program that fails or hangs costs no capacity, and is tried again after the pause', async (context) => {
  const { fleet, create } = fleetFor(context);
  const autoscaler = create();
  fleet.hook = async () => ({ kind: 'failed', why: '/park took longer than 5 ms and was killed' });
  assert.match((await autoscaler.look()).failed ?? '', /^vm-1 could not be parked: .* was killed$/);
  assert.deepEqual(fleet.calls, ['drain vm-1', 'undrain vm-1']);
  assert.deepEqual(fleet.states, { 'vm-1': 'works', 'vm-2': 'works' });
  await autoscaler.look();
  assert.equal(fleet.runs.length, 1, 'it rests');
  fleet.now += 300_000;
  fleet.hook = async () => ({ kind: 'done' });
  await autoscaler.look();
  assert.equal(fleet.runs[1]?.SCALE_NODE, 'vm-2', 'another one than the one that failed');
});

test('a drain that is refused or late parks nobody', async (context) => {
  const { fleet, create } = fleetFor(context);
  const autoscaler = create();
  fleet.drained = false;
  await autoscaler.look();
  assert.deepEqual(fleet.calls, ['drain vm-1', 'undrain vm-1']);
  fleet.now += 300_000;
  fleet.refusal = 'Draining vm-2 would leave 0 nodes in service';
  await autoscaler.look();
  assert.deepEqual(fleet.runs, []);
  assert.deepEqual(fleet.states, { 'vm-1': 'works', 'vm-2': 'works' });
});

test('a VM that never comes up is given up, and woken again after the pause', async (context) => {
  const { fleet, create } = fleetFor(context, { TOONFLEET_AUTOSCALE__NODES: '["vm-2"]' });
  const autoscaler = create();
  fleet.busy = 2;
  fleet.states['vm-2'] = 'off';
  await autoscaler.look();
  fleet.now += 300_001;
  assert.match((await autoscaler.look()).words, /the pause after the last move/);
  assert.equal(autoscaler.memory.failed['http://vm-2:8001'], fleet.now);
  fleet.now += 300_000;
  assert.equal((await autoscaler.look()).move, 'wake');
  assert.equal(fleet.runs.length, 2);
});

test('a restart in the middle of a park takes it back, or finds it done', async (context) => {
  const { fleet, create } = fleetFor(context);
  // The program ends with the whole box: whoever waited for it never hears of it.
  fleet.hook = () => new Promise(() => {});
  void create().look();
  while (fleet.runs.length === 0) await new Promise(setImmediate);
  const back = create();
  await back.look();
  assert.deepEqual(fleet.calls, ['drain vm-1', 'undrain vm-1']);
  assert.equal(back.memory.moving, null);

  fleet.now += 300_000;
  void back.look();
  while (fleet.runs.length === 1) await new Promise(setImmediate);
  fleet.states['vm-2'] = 'off';
  const done = create();
  await done.look();
  assert.deepEqual(
    done.memory.parked.map(({ id }) => id),
    ['vm-2'],
  );
});

test('a dry run says what it would do, and neither does nor remembers it', async (context) => {
  const { fleet, create } = fleetFor(context);
  const look = await create(true).look();
  assert.match(look.words, /^would park vm-1: slots: 2 × 0 %/);
  assert.deepEqual([fleet.calls, fleet.runs], [[], []]);
  assert.deepEqual(create().memory.history, []);
});

test('the pictures of every balancer count, and while one is silent nobody is parked', async (context) => {
  const { fleet, create } = fleetFor(context);
  const autoscaler = create();
  fleet.elsewhere = 2.8;
  assert.match((await autoscaler.look()).words, /^slots: 2 × 70 % \/ 70 %/);
  fleet.elsewhere = undefined;
  assert.match((await autoscaler.look()).words, /→ 0, but not fewer; another balancer: unknown/);
  assert.deepEqual(fleet.calls, []);
  fleet.elsewhere = 0;
  await autoscaler.look();
  assert.deepEqual(fleet.calls, ['drain vm-1']);
});

test('a VM that is off although its program failed counts as parked, and can be woken', async (context) => {
  const { fleet, create } = fleetFor(context);
  const autoscaler = create();
  fleet.hook = async () => {
    fleet.states['vm-1'] = 'off';
    fleet.undrains = false;
    return { kind: 'failed', why: '/park took longer than 5 ms and was killed' };
  };
  assert.match((await autoscaler.look()).failed ?? '', /was killed; it stays drained until/);
  await autoscaler.look();
  assert.deepEqual(
    autoscaler.memory.parked.map(({ id }) => id),
    ['vm-1'],
  );
  fleet.now += 300_000;
  fleet.busy = 2;
  fleet.hook = async () => ({ kind: 'done' });
  assert.equal((await autoscaler.look()).move, 'wake');
});

test('a VM whose park failed is told to work on until it hears it', async (context) => {
  const { fleet, create } = fleetFor(context);
  const autoscaler = create();
  fleet.undrains = false;
  fleet.hook = async () => ({ kind: 'failed', why: '/park ended with 1: no quota' });
  await autoscaler.look();
  const waiting = await create().look();
  assert.deepEqual([waiting.move, fleet.states['vm-1']], ['wait', 'drained'], 'also over a restart');
  fleet.undrains = true;
  await autoscaler.look();
  assert.equal(fleet.states['vm-1'], 'works');
  assert.equal(autoscaler.memory.moving, null);
  assert.equal(autoscaler.memory.failed['http://vm-1:8001'], fleet.now);
});

test('a VM that goes off after its park was taken back counts as parked, and can be woken', async (context) => {
  const { fleet, create } = fleetFor(context);
  const autoscaler = create();
  // The program has begun a shutdown, and is killed while it waits for the end of it.
  fleet.hook = async () => ({ kind: 'failed', why: '/park took longer than 5 ms and was killed' });
  await autoscaler.look();
  assert.deepEqual(fleet.calls, ['drain vm-1', 'undrain vm-1']);
  fleet.states['vm-1'] = 'off';
  fleet.now += 15_000;
  const after = create();
  await after.look();
  assert.deepEqual(after.memory.parked, [{ url: 'http://vm-1:8001', id: 'vm-1', zone: 'a' }]);
  fleet.now += 300_000;
  fleet.busy = 2;
  fleet.hook = async () => ({ kind: 'done' });
  assert.equal((await after.look()).move, 'wake');
  assert.equal(fleet.runs.at(-1)?.SCALE_NODE, 'vm-1');
});

test('a drain whose answer is lost is taken back as soon as somebody can be told', async (context) => {
  const { fleet, create } = fleetFor(context);
  const autoscaler = create();
  fleet.answers = false;
  fleet.undrains = false;
  assert.match((await autoscaler.look()).failed ?? '', /^vm-1 is not parked: The balancer hung up; it stays/);
  assert.equal(fleet.states['vm-1'], 'drained');
  fleet.undrains = true;
  await autoscaler.look();
  assert.deepEqual([fleet.states['vm-1'], fleet.runs], ['works', []]);
});

test('a VM that cannot be told to work on keeps the others waiting no longer than a wake', async (context) => {
  const { fleet, create } = fleetFor(context);
  const autoscaler = create();
  fleet.undrains = false;
  fleet.hook = async () => ({ kind: 'failed', why: '/park ended with 1: no quota' });
  await autoscaler.look();
  fleet.now += 300_000;
  assert.equal((await autoscaler.look()).move, 'wait');
  fleet.now += 1;
  assert.equal((await autoscaler.look()).move, 'hold');
  assert.equal(autoscaler.memory.moving, null);
  assert.equal(autoscaler.memory.failed['http://vm-1:8001'], fleet.now);
  // It sleeps as far as anybody needs it: when it is, it is woken, and told.
  fleet.now += 300_000;
  fleet.busy = 2;
  fleet.hook = async () => ({ kind: 'done' });
  assert.equal((await autoscaler.look()).move, 'wake');
  fleet.undrains = true;
  await autoscaler.look();
  await autoscaler.look();
  assert.deepEqual([fleet.states['vm-1'], autoscaler.memory.parked], ['works', []]);
});
