// toonfleet.yaml as a whole: its sections in their order, what they may not say together, and the name of each setting.
// A section's settings stand in its file under `settings/`, each once: type, unit, default, bounds and one sentence.
// Pure: reads no file and no environment. `config/load.ts` turns files and environment into these settings;
// `toonfleet config docs` prints them as a table.

import { z } from 'zod';
import { agent } from './settings/agent.ts';
import { alerts } from './settings/alerts.ts';
import { apiKeyTwins } from './settings/api-keys.ts';
import { autoscale } from './settings/autoscale.ts';
import { backup } from './settings/backup.ts';
import { balancer } from './settings/balancer.ts';
import { folder, oneOf, type SettingDoc, settingDoc } from './settings/field.ts';
import { nodes, upstreams } from './settings/fleet.ts';
import { keepalived } from './settings/keepalived.ts';
import { limits } from './settings/limits.ts';
import { logs } from './settings/logs.ts';
import { models } from './settings/models.ts';
import { nginx } from './settings/nginx.ts';
import { node } from './settings/node.ts';
import { portContradictions } from './settings/ports.ts';
import { relayContradictions } from './settings/relay.ts';
import { results } from './settings/results.ts';
import { rollout } from './settings/rollout.ts';
import { scaleContradictions } from './settings/scale.ts';
import { tlsContradictions } from './settings/tls.ts';
import { worker, workerContradictions } from './settings/worker.ts';

export { EXECUTION_PROVIDERS, type ExecutionProvider } from './settings/models.ts';

/** All sections of toonfleet.yaml, in the order of the reference. */
export const settingsSchema = z.strictObject({
  data_dir: folder(
    '.toonfleet',
    'Where this machine keeps its PM2 home, stored results, and uploads for which memory has no room.',
  ),
  log_level: oneOf(
    ['debug', 'info', 'warn', 'error', 'silent'],
    'info',
    'The least severe line that is logged.',
  ),
  logs,
  limits,
  node,
  balancer,
  nodes,
  upstreams,
  worker,
  autoscale,
  nginx,
  rollout,
  keepalived,
  agent,
  models,
  alerts,
  backup,
  results,
});

/** Groups that may also be written as one value, which then stands for this one of them. */
export const SHORTHANDS: Readonly<Record<string, string>> = { 'balancer.cache': 'balancer.cache.enabled' };

/** All settings, validated, with every default filled in. Durations are ms, sizes bytes. */
export type Settings = z.output<typeof settingsSchema>;

/** Settings that are each allowed but cannot stand together, each pair a line that says so. */
export function contradictions(settings: Settings): string[] {
  const { alerts, balancer, worker } = settings;
  return [
    ...workerContradictions(worker),
    ...apiKeyTwins(balancer.api_keys),
    ...portContradictions(settings),
    ...scaleContradictions(worker.scale, worker),
    ...tlsContradictions(balancer.tls),
    ...relayContradictions(alerts.relay),
  ];
}

/** One setting as a row of the reference: its dotted name and its description. */
export interface SettingRow extends SettingDoc {
  readonly name: string;
}

/** All settings in the order of the schema. */
export function settingRows(schema: z.ZodType = settingsSchema, prefix = ''): SettingRow[] {
  const doc = settingDoc(schema);
  if (doc) return [{ name: prefix, ...doc }];
  const inner = unwrap(schema);
  if (!(inner instanceof z.ZodObject)) return [];
  return Object.entries(inner.shape as Record<string, z.ZodType>).flatMap(([key, child]) =>
    settingRows(child, prefix === '' ? key : `${prefix}.${key}`),
  );
}

/** `balancer.admin_port` → `TOONFLEET_BALANCER__ADMIN_PORT`. */
export function envNameOf(setting: string): string {
  return `TOONFLEET_${setting.toUpperCase().replaceAll('.', '__')}`;
}

/** The schema inside a default, prefault or optional. */
function unwrap(schema: z.ZodType): z.ZodType {
  if (schema instanceof z.ZodPrefault || schema instanceof z.ZodDefault || schema instanceof z.ZodOptional) {
    return unwrap(schema.unwrap() as z.ZodType);
  }
  return schema;
}
