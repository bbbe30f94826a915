// `toonfleet doctor` for tests: run on a place, its report read, and what it found wrong.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { type Finding, type Report, reportSchema } from '../doctor/finding.ts';
import { PACKAGE_ROOT } from '../process/package.ts';
import { type Site, toonfleet } from './cluster.ts';

/** A command that has ended, and what it wrote to stdout. */
export type Ended = { readonly code: number | null; readonly output: string };

/** Runs the doctor on a place; `through` is put in front, such as a program that takes something away from it. */
export async function examine(at: Site, env: Record<string, string> = {}, through: readonly string[] = []) {
  const cli = join(PACKAGE_ROOT, 'ops/toonfleet.mjs');
  const ended: Ended =
    through.length === 0
      ? await toonfleet({ cwd: at.cwd, env: { ...at.env, ...env } }, 'doctor', '--json')
      : await spawned([...through, process.execPath, cli, 'doctor', '--json'], at, env);
  return { code: ended.code, findings: reportOf(ended).findings };
}

/** Runs any program with the settings of a place. */
export function spawned(words: readonly string[], at: Site, env: Record<string, string>): Promise<Ended> {
  const [program = '', ...args] = words;
  const child = spawn(program, args, {
    cwd: at.cwd,
    env: { ...at.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    output += chunk;
  });
  return once(child, 'close').then(([code]) => ({ code: code as number | null, output }));
}

function reportOf({ output }: Ended): Report {
  // "compiling …" may stand before it.
  return reportSchema.parse(JSON.parse(output.slice(output.indexOf('{'))));
}

/** What is wrong, without what every machine of this test shares. */
export const wrong = (findings: readonly Finding[]) =>
  findings.filter(
    ({ verdict, check }) => verdict !== 'ok' && !['Node', 'admin token', 'allocator'].includes(check),
  );

/** Asserts that a check found one thing wrong, and says what to do. */
export function single(
  findings: readonly Finding[],
  check: string,
  verdict: Finding['verdict'],
  says: RegExp,
): void {
  const found = wrong(findings).filter((finding) => finding.check === check);
  assert.equal(found.length, 1, JSON.stringify(wrong(findings), null, 1));
  assert.equal(found[0]?.verdict, verdict);
  assert.match(found[0]?.found ?? '', says);
  assert.ok(found[0]?.advice);
}
