// Writes what the docs say by machine: openapi.json, the tables between markers in the pages for people, and the alert
// rules of the default settings with their trials and the dashboard, as they are run and looked up in ops/alerts.
// `npm run make:docs` writes them; docs.test.ts fails when they are not current.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ERRORS } from '../config/errors.ts';
import { openapiDocument } from '../config/openapi.ts';
import { envNameOf, settingRows, settingsSchema } from '../config/schema.ts';
import { ROWS } from '../ops/alerts/dashboard.ts';
import { grafanaDashboard } from '../ops/alerts/grafana.ts';
import { FILES, yamlOf } from '../ops/alerts/prometheus.ts';
import { ruleGroups } from '../ops/alerts/rules.ts';
import { promtoolTests } from '../ops/alerts/trials.ts';
import { PACKAGE_ROOT, VERSION } from '../ops/process/package.ts';

const DOCS = join(PACKAGE_ROOT, 'docs');
const ALERTS = join(PACKAGE_ROOT, 'ops/alerts');
const MADE = '# Made by npm run make:docs from ops/alerts/*.ts; change those instead.\n';

/** The whole text of each generated file, by its path. Pages for people keep all that is outside of the markers. */
export function generatedFiles(): ReadonlyMap<string, string> {
  const page = (name: string, table: string, rows: string) =>
    [join(DOCS, name), betweenMarkers(readFileSync(join(DOCS, name), 'utf8'), table, rows)] as const;
  return new Map([
    [join(DOCS, 'openapi.json'), openapiText()],
    page('api.md', 'errors', errorTable()),
    page('operate.md', 'settings', settingTable()),
    [join(ALERTS, FILES.rules), MADE + yamlOf({ groups: ruleGroups(settingsSchema.parse({}).alerts) })],
    [join(ALERTS, 'toonfleet.rules.test.yml'), MADE + yamlOf(promtoolTests(FILES.rules))],
    [join(ALERTS, 'dashboards/toonfleet.json'), dashboardText()],
  ]);
}

function openapiText(): string {
  const { limits } = settingsSchema.parse({});
  return `${JSON.stringify(openapiDocument({ version: VERSION, limits }), null, 2)}\n`;
}

function dashboardText(): string {
  return `${JSON.stringify(grafanaDashboard('toonfleet', 'toonfleet', ROWS), null, 2)}\n`;
}

function errorTable(): string {
  return table(
    ['status', 'code', 'meaning', 'try again?'],
    Object.entries(ERRORS).map(([code, { status, title, retryable }]) => [
      String(status),
      `\`${code}\``,
      title,
      retryable ? 'yes' : 'no',
    ]),
  );
}

function settingTable(): string {
  return table(
    ['setting', 'default', 'what it does', 'allowed'],
    settingRows().map((row) => [
      row.secret ? `\`${envNameOf(row.name)}\`` : `\`${row.name}\``,
      `\`${row.fallback}\``,
      row.sentence,
      row.allowed,
    ]),
  );
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

/** Puts `text` between `<!-- name -->` and `<!-- /name -->`. */
function betweenMarkers(page: string, name: string, text: string): string {
  const [open, close] = [`<!-- ${name}: made by npm run make:docs -->`, `<!-- /${name} -->`];
  const [start, end] = [page.indexOf(open), page.indexOf(close)];
  if (start < 0 || end < start) throw new Error(`a page has no place for its table: ${open} … ${close}`);
  return `${page.slice(0, start + open.length)}\n\n${text}\n\n${page.slice(end)}`;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  for (const [path, text] of generatedFiles()) writeFileSync(path, text);
}
