// `toonfleet prometheus render`: writes the configuration of Prometheus and of Alertmanager for these settings. What stands
// in it is decided in rules.ts and prometheus.ts.

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { LoadedSettings } from '../../config/load.ts';
import { fleetAgents } from '../agents.ts';
import { write } from '../front/command.ts';
import { VERSION } from '../process/package.ts';
import { STANDARD } from '../terminal.ts';
import { alertmanagerConfig, FILES, prometheusConfig, yamlOf } from './prometheus.ts';
import { ruleGroups } from './rules.ts';

/** One file of a folder. */
export interface Rendered {
  readonly name: string;
  readonly text: string;
  readonly secret: boolean;
}

/**
 * All files; those for Alertmanager only with a token for the relay, without which it takes in nothing.
 * @param agents Origins of all agents of the fleet.
 */
export function renderAll(settings: LoadedSettings, agents: readonly string[]): Rendered[] {
  const from = settings.source ?? 'defaults and environment';
  const origin = `# Made by toonfleet ${VERSION} from ${from}; render it again instead of editing.\n`;
  const yaml = (name: string, value: object) => ({ name, text: origin + yamlOf(value), secret: false });
  const { token } = settings.alerts.relay;
  return [
    yaml(FILES.prometheus, prometheusConfig(settings, agents)),
    yaml(FILES.rules, { groups: ruleGroups(settings.alerts) }),
    ...(token === undefined
      ? []
      : [
          yaml(FILES.alertmanager, alertmanagerConfig(settings)),
          { name: FILES.token, text: token, secret: true },
        ]),
  ];
}

const { complain } = STANDARD;

/**
 * Writes the files into a folder, or shows those that hold no secret; the answer is the exit code. Nodes that only a balancer
 * was told of are in them too, where it can be asked.
 */
export async function renderPrometheus(settings: LoadedSettings, out: string | undefined): Promise<number> {
  const files = renderAll(settings, await fleetAgents(settings));
  if (out === undefined) {
    for (const { name, text } of files.filter(({ secret }) => !secret))
      process.stdout.write(`--- # ${name}\n${text}`);
  } else {
    mkdirSync(out, { recursive: true });
    for (const { name, text, secret } of files) write(text, join(out, name), secret);
    complain(
      `${out}: ${files.map(({ name }) => name).join(', ')}; next: promtool check config ${join(out, FILES.prometheus)}`,
    );
    if (settings.alerts.relay.token !== undefined)
      complain(
        `${join(out, FILES.token)} is for Alertmanager alone: give it to the user that Alertmanager runs as.`,
      );
  }
  if (settings.alerts.relay.token === undefined)
    complain(
      `${FILES.alertmanager} is left out: alerts.relay.token is not set, so the relay takes in nothing.`,
    );
  return 0;
}
