// Rows as a table for people, or as JSON for programs, on stdout.

/** Prints rows; the first one names the columns. */
export function print(rows: readonly Record<string, string>[], json: boolean): void {
  if (json) {
    console.log(JSON.stringify(rows, null, 2));
    return;
  }
  const names = Object.keys(rows[0] ?? {});
  const width = (name: string) => Math.max(name.length, ...rows.map((row) => (row[name] ?? '').length));
  const line = (cell: (name: string) => string) =>
    names
      .map((name) => cell(name).padEnd(width(name)))
      .join('  ')
      .trimEnd();
  console.log(
    [line((name) => name.toUpperCase()), ...rows.map((row) => line((name) => row[name] ?? ''))].join('\n'),
  );
}
