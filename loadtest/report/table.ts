// The report in a terminal. Pure: gives lines.

import type { Run, Step } from '../result.ts';
import { stageNames } from '../result.ts';
import type { Difference } from './compare.ts';
import { duration, fleetWords, percent, qps, verdictWords } from './words.ts';

type Column = readonly [title: string, cell: (step: Step) => string];

const COLUMNS: readonly Column[] = [
  ['step', ({ purpose, label }) => (purpose === 'step' ? label : `${purpose} ${label}`)],
  ['offered', ({ offered_qps, users }) => (users === null ? `${qps(offered_qps)}/s` : `${users} users`)],
  ['QPS', ({ achieved_qps }) => qps(achieved_qps)],
  ['mean', ({ latency_ms }) => duration(latency_ms?.mean)],
  ['P50', ({ latency_ms }) => duration(latency_ms?.p50)],
  ['P95', ({ latency_ms }) => duration(latency_ms?.p95)],
  ['P99', ({ latency_ms }) => duration(latency_ms?.p99)],
  ['errors', ({ error_rate }) => percent(error_rate)],
  ['shed', ({ shed }) => String(shed)],
  ['CPU', ({ cpu }) => percent(cpu)],
  ['late', ({ generator }) => duration(generator.late_p99_ms)],
  ['verdict', verdictWords],
];

/** The whole report as text. */
export function textReport(run: Run, differences: readonly Difference[] | undefined): string {
  const lines = ['', table(run.steps, COLUMNS), ''];
  const stages = run.steps.filter(({ stages_ms }) => Object.keys(stages_ms).length > 0);
  if (stages.length > 0) {
    lines.push('where the time goes (mean ms a picture, from Server-Timing)');
    lines.push(
      table(stages, [
        ['step', ({ label }) => label],
        ...stageNames.map(
          (stage): Column => [
            stage,
            ({ stages_ms }) => (stages_ms[stage] === undefined ? '–' : stages_ms[stage].toFixed(1)),
          ],
        ),
      ]),
      '',
    );
  }
  const { slo } = run;
  lines.push(`service level  ${sloWords(slo)}`);
  lines.push(`fleet          ${fleetWords(run)}`);
  lines.push(
    `machine        ${run.machine.cpu}, ${run.machine.cores} cores, ${run.machine.os}, Node ${run.machine.node}`,
  );
  lines.push(
    `version        ${run.version}${run.commit === null ? '' : `, commit ${run.commit}`}, ${run.started_at}`,
  );
  lines.push(`command        ${run.command}`);
  for (const warning of run.warnings) lines.push(`note           ${warning}`);
  if (differences) lines.push('', ...differenceLines(differences));
  lines.push('', `${verdictWord(run)}: ${run.sentence}`, '');
  return lines.join('\n');
}

/** The service level in a line. */
export function sloWords(slo: Run['slo']): string {
  return [
    slo.p95_ms === null ? '' : `P95 ≤ ${duration(slo.p95_ms)}`,
    slo.max_error_rate === null ? '' : `errors ≤ ${percent(slo.max_error_rate)}`,
    slo.max_cpu === null ? '' : `CPU ≤ ${percent(slo.max_cpu)}`,
    slo.max_worker_memory_mb === null ? '' : `memory ≤ ${slo.max_worker_memory_mb.toFixed(0)} MB a worker`,
  ]
    .filter((clause) => clause !== '')
    .join(', ');
}

/** The verdict as the first word of the last line. */
export function verdictWord(run: Pick<Run, 'verdict'>): string {
  const words: Record<Run['verdict'], string> = {
    met: 'MET',
    'not met': 'NOT MET',
    invalid: 'INVALID',
    aborted: 'STOPPED',
    interrupted: 'INTERRUPTED',
  };
  return words[run.verdict];
}

function differenceLines(differences: readonly Difference[]): string[] {
  if (differences.length === 0) return ['baseline       nothing in common to compare'];
  return differences.map(
    ({ what, before, now, change, noise, verdict }) =>
      `baseline       ${what}: ${before} → ${now} (${change >= 0 ? '+' : ''}${(change * 100).toFixed(1)} %, noise ±${(noise * 100).toFixed(1)} %): ${verdict}`,
  );
}

function table(steps: readonly Step[], columns: readonly Column[]): string {
  const rows = [
    columns.map(([title]) => title),
    ...steps.map((step) => columns.map(([, cell]) => cell(step))),
  ];
  const widths = columns.map((_, index) => Math.max(...rows.map((row) => (row[index] ?? '').length)));
  const last = columns.length - 1;
  return rows
    .map((row) =>
      row
        .map((cell, index) => {
          const width = widths[index] ?? 0;
          // Names and verdicts read from the left, figures line up on the right.
          return index === 0 || (index === last && columns[last]?.[0] === 'verdict')
            ? cell.padEnd(width)
            : cell.padStart(width);
        })
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
