// How far a download is, for people: one line that is written over itself on a terminal, and a line a tenth elsewhere.

const WIDTH = 30;

/** What a line is written to: stderr, as a rule. */
export interface Terminal {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

/** Shows progress; `done` ends the line. */
export function progressBar(name: string, terminal: Terminal) {
  let last = '';
  return {
    show(bytes: number, total: number | undefined): void {
      const line = barLine(name, bytes, total, terminal.isTTY === true ? 100 : 10);
      if (line === last) return;
      last = line;
      terminal.write(terminal.isTTY ? `\r${line}` : `${line}\n`);
    },
    done(): void {
      if (terminal.isTTY && last !== '') terminal.write('\n');
    },
  };
}

/** The line, which changes `steps` times on the way. */
export function barLine(name: string, bytes: number, total: number | undefined, steps: number): string {
  const mib = (value: number) => (value / 2 ** 20).toFixed(1);
  if (total === undefined || total === 0) return `${name}  ${Math.floor(bytes / 2 ** 20)} MiB`;
  const part = Math.floor((Math.min(bytes, total) / total) * steps) / steps;
  const full = Math.round(part * WIDTH);
  return `${name}  [${'#'.repeat(full)}${'.'.repeat(WIDTH - full)}] ${Math.round(part * 100)} % of ${mib(total)} MiB`;
}
