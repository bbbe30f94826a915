// What a bench says in the end: where and how it was measured, and its tables, in Markdown for docs or as JSON for
// programs. Knows nothing of what was measured.

import { thisCommit, thisMachine } from '../machine.ts';
import { shellWords } from '../report/words.ts';

/** One table; cells are ready to be read. */
export interface Table {
  readonly title: string;
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** Everything that a bench leaves behind. */
export interface Sheet {
  /** The command's own words, for whoever repeats it: `ceiling`, `--runs`, `5`. */
  readonly words: readonly string[];
  readonly tables: readonly Table[];
  /** What a reader must know besides: what was left out, what falls short. */
  readonly notes: readonly string[];
  /** The figures behind the tables. */
  readonly data: unknown;
}

/** As it is before a bench pins itself to a part of it. */
const MACHINE = thisMachine();

/** Writes a sheet to the standard output. */
export function printSheet(sheet: Sheet, json: boolean): void {
  const { cpu, cores, os, node } = MACHINE;
  const origin = { machine: `${cores} × ${cpu}, ${os}, Node ${node}`, commit: thisCommit(), date: today() };
  const command = `npm run bench -- ${shellWords(sheet.words)}`;
  process.stdout.write(
    json
      ? `${JSON.stringify({ command, ...origin, notes: sheet.notes, ...(sheet.data as object) }, null, 1)}\n`
      : `${[
          `\`${command}\`, ${origin.machine}, commit ${origin.commit ?? 'unknown'}, ${origin.date}`,
          ...sheet.tables.flatMap((table) => ['', `${table.title}:`, '', markdown(table)]),
          ...(sheet.notes.length > 0 ? ['', ...sheet.notes.map((note) => `- ${note}`)] : []),
        ].join('\n')}\n`,
  );
}

/** A table as Markdown. */
export function markdown({ head, rows }: Pick<Table, 'head' | 'rows'>): string {
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

const today = () => new Date().toISOString().slice(0, 10);
