// `toonfleet start --detach` and `toonfleet stop`: the command of ops/start.ts without a terminal that waits for it. For
// machines without a supervisor; where systemd keeps the service, systemd starts and stops it.

import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import type { LoadedSettings } from '../config/load.ts';
import { appsOf, pm2HomeOf, type Role } from './apps.ts';
import { isAlive, killFamily, pm2Answers } from './pm2.ts';
import { usableCores } from './process/cores.ts';
import { PACKAGE_ROOT } from './process/package.ts';
import { tenantOf } from './tenancy.ts';
import { STANDARD } from './terminal.ts';

const { say, complain } = STANDARD;

/** What PM2 and the command need to end beside their slowest app. */
const FAREWELL_MS = 20_000;
const POLL_MS = 50;

/** Starts a role in the background and does not wait until it is ready; what it says goes to a file. */
export function startDetached(settings: LoadedSettings, role: Role, configFile: string | undefined): number {
  mkdirSync(settings.data_dir, { recursive: true });
  const file = join(settings.data_dir, 'start.log');
  const log = openSync(file, 'a', 0o640);
  const config = configFile === undefined ? [] : ['--config', configFile];
  const child = spawn(
    process.execPath,
    [join(PACKAGE_ROOT, 'ops/toonfleet.mjs'), 'start', '--role', role, '--verbose', ...config],
    { detached: true, stdio: ['ignore', log, log] },
  );
  closeSync(log);
  child.unref();
  if (child.pid === undefined) {
    complain('It could not be started.');
    return 1;
  }
  say(`starting in the background (process ${child.pid}); what it says: ${file}; to stop it: toonfleet stop`);
  return 0;
}

/** Stops what runs from this data folder, in its order, and waits until nothing of it is left. */
export async function stop(settings: LoadedSettings): Promise<number> {
  const home = pm2HomeOf(settings);
  const tenant = tenantOf(home);
  if (!tenant || !isAlive(tenant.start)) {
    if (tenant === undefined && (await pm2Answers(home))) {
      complain(
        `A PM2 that toonfleet did not start has the home ${home}; stop it with: PM2_HOME=${home} pm2 kill`,
      );
      return 1;
    }
    say(`nothing runs from ${settings.data_dir}`);
    return 0;
  }
  const apps = appsOf(settings, 'all', { root: PACKAGE_ROOT, cwd: process.cwd(), cores: usableCores() });
  const patienceMs = apps.reduce((sum, app) => sum + app.kill_timeout, 0) + FAREWELL_MS;
  process.kill(tenant.start.pid, 'SIGTERM');
  const until = Date.now() + patienceMs;
  while (isAlive(tenant.start)) {
    if (Date.now() > until) {
      if (tenant.runtime) killFamily({ home, group: tenant.runtime.pid });
      process.kill(tenant.start.pid, 'SIGKILL');
      complain(`It did not end in ${Math.round(patienceMs / 1000)} s and was killed.`);
      return 1;
    }
    await wait(POLL_MS);
  }
  say('stopped');
  return 0;
}
