// A doctor's reports as text for people, as JSON for programs, and as an exit code. Pure.

import { type Finding, type Report, type Verdict, worst } from './finding.ts';

/** All that was looked at. */
export interface Examination {
  /** What concerns the fleet as a whole, as it is seen from here; empty when only this machine was asked for. */
  readonly fleet: readonly Finding[];
  readonly machines: readonly Report[];
}

const SIGNS: Readonly<Record<Verdict, string>> = { ok: 'ok  ', warn: 'WARN', bad: 'BAD ' };

/** 0 when nothing is bad, 1 otherwise. */
export function exitCodeOf({ fleet, machines }: Examination): number {
  return worst([...fleet, ...machines.flatMap(({ findings }) => findings)]) === 'bad' ? 1 : 0;
}

/** A line a finding, the advice below it, a last line that counts. */
export function examinationText(examination: Examination): string {
  const { fleet, machines } = examination;
  const sections = [
    ...machines.map(({ node, release, findings }) => section(`${node} (${release})`, findings)),
    ...(fleet.length > 0 ? [section('the fleet, from here', fleet)] : []),
  ];
  const all = [...fleet, ...machines.flatMap(({ findings }) => findings)];
  const count = (verdict: Verdict) => all.filter((finding) => finding.verdict === verdict).length;
  const [bads, warns] = [count('bad'), count('warn')];
  const last =
    bads + warns === 0
      ? `all ${all.length} checks are well`
      : `${all.length} checks: ${count('ok')} ok, ${warns} to look at, ${bads} bad`;
  return [...sections, last].join('\n');
}

function section(title: string, findings: readonly Finding[]): string {
  const width = Math.max(...findings.map(({ check }) => check.length));
  const rows = findings.flatMap(({ check, verdict, found, advice }) => [
    `  ${SIGNS[verdict]}  ${check.padEnd(width)}  ${oneLine(found)}`,
    ...(advice === undefined ? [] : [`  ${' '.repeat(4 + 2 + width)}  → ${oneLine(advice)}`]),
  ]);
  return [title, ...rows].join('\n');
}

/** What other machines say must not move the cursor of this terminal. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is taken out.
const oneLine = (text: string) => text.replace(/[\u0000-\u001f\u007f-\u009f]+/g, ' ');
