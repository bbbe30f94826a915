import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import test, { type TestContext } from 'node:test';
import { loadSettings } from '../config/load.ts';
import { freePort, portFaults } from './ports.ts';

async function takenPort(context: TestContext): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  context.after(() => server.close());
  const address = server.address();
  assert.ok(typeof address === 'object' && address);
  return address.port;
}

/** Settings whose ports are free, apart from those that a test names. */
async function settingsWith(env: Record<string, string>) {
  const first = 20_000 + Math.floor((await freePort('127.0.0.1')) / 10);
  return loadSettings({
    cwd: '/nowhere',
    env: {
      TOONFLEET_BALANCER__HOST: '127.0.0.1',
      TOONFLEET_BALANCER__PORT: '0',
      TOONFLEET_BALANCER__ADMIN_PORT: '0',
      TOONFLEET_WORKER__SHARED_PORT: '0',
      TOONFLEET_AGENT__PORT: '0',
      TOONFLEET_WORKER__PORT_FIRST: String(first),
      TOONFLEET_WORKER__PORT_LAST: String(first + 50),
      ...env,
    },
  });
}

test('free ports are no fault', async () => {
  assert.deepEqual(await portFaults(await settingsWith({}), 'all', 2), []);
});

test('a taken port is named, with its setting and what to write', async (context) => {
  const port = await takenPort(context);
  const faults = await portFaults(await settingsWith({ TOONFLEET_BALANCER__PORT: String(port) }), 'all', 2);
  assert.equal(faults.length, 1);
  assert.match(faults[0] ?? '', new RegExp(`Port ${port} \\(balancer\\.port\\) is taken`));
  assert.match(faults[0] ?? '', new RegExp(`TOONFLEET_BALANCER__PORT=${port + 10}`));
});

test('all taken ports are told at once, and only those of the role', async (context) => {
  const settings = await settingsWith({
    TOONFLEET_BALANCER__PORT: String(await takenPort(context)),
    TOONFLEET_AGENT__PORT: String(await takenPort(context)),
  });
  assert.equal((await portFaults(settings, 'all', 1)).length, 2);
  assert.match((await portFaults(settings, 'node', 1)).join(), /agent\.port/);
  assert.match((await portFaults(settings, 'balancer', 1)).join(), /balancer\.port/);
});

test('a worker range without enough free ports is told before the workers fall over it', async (context) => {
  const port = await takenPort(context);
  const settings = await settingsWith({
    TOONFLEET_WORKER__PORT_FIRST: String(port),
    TOONFLEET_WORKER__PORT_LAST: String(port),
  });
  assert.match((await portFaults(settings, 'node', 1)).join(), /worker\.port_first.*only 0 are free/);
});

test('an address of another machine is told as that', async () => {
  const faults = await portFaults(
    await settingsWith({ TOONFLEET_BALANCER__HOST: '192.0.2.1' }),
    'balancer',
    1,
  );
  assert.deepEqual(faults, ['192.0.2.1 (balancer.host) is no address of this machine.']);
});
