import assert from 'node:assert/strict';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { autoscaleFileIn } from '../../ops/process/autoscale-file.ts';
import { dataDir, startAdmin } from '../traffic/test-admin.ts';

test('Prometheus hears which VMs autoscale has parked, and nothing of it where autoscale never ran', async (context) => {
  const folder = dataDir(context);
  const { adminUrl } = await startAdmin(context, [], { TOONFLEET_DATA_DIR: folder });
  const series = async () => {
    const text = await (await fetch(`${adminUrl}/metrics`)).text();
    return text.split('\n').filter((line) => line.startsWith('toonfleet_autoscale_'));
  };
  assert.deepEqual(await series(), []);
  writeFileSync(
    autoscaleFileIn(folder),
    JSON.stringify({
      parked: [{ url: 'http://10.0.0.11:8001', id: 'vm-1', zone: 'a' }],
      moving: null,
      restUntil: 0,
      failed: { 'http://10.0.0.12:8001': 5_000 },
      history: [{ at: 9_000, count: 2 }],
    }),
  );
  assert.deepEqual((await series()).sort(), [
    'toonfleet_autoscale_failed_timestamp_seconds{agent="10.0.0.12:8001"} 5',
    'toonfleet_autoscale_last_look_timestamp_seconds 9',
    'toonfleet_autoscale_parked{agent="10.0.0.11:8001"} 1',
    'toonfleet_autoscale_wanted_nodes 2',
  ]);
  rmSync(autoscaleFileIn(folder));
  assert.deepEqual(await series(), []);
});

test('Prometheus hears from a balancer too when its machine was last backed up, since there may be no agent', async (context) => {
  const folder = dataDir(context);
  const { adminUrl } = await startAdmin(context, [], { TOONFLEET_DATA_DIR: folder });
  const told = async () =>
    /^toonfleet_backup_last_success_timestamp_seconds (\S+)$/m.exec(
      await (await fetch(`${adminUrl}/metrics`)).text(),
    )?.[1];
  assert.equal(await told(), undefined, 'never tried');
  mkdirSync(join(folder, 'backup'));
  const status = (text: string) => writeFileSync(join(folder, 'backup/status.json'), text);
  status('{"last_success": "2026-01-02T03:04:05.000Z"}');
  assert.equal(await told(), String(Date.UTC(2026, 0, 2, 3, 4, 5) / 1000));
  status('{"fault": "no space left"}');
  assert.equal(await told(), '0', 'none has succeeded');
});
