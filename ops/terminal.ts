// Where a command's words go, and how it ends when it will not do what was asked. Knows no command.

/** Where words go. */
export interface Terminal {
  readonly say: (text: string) => void;
  readonly complain: (text: string) => void;
}

/** This process's own output. */
export const STANDARD: Terminal = {
  say: (text) => process.stdout.write(`${text}\n`),
  complain: (text) => process.stderr.write(`${text}\n`),
};

/** The exit code of a command line that makes no sense. */
export const EXIT_USAGE = 2;

/** What was typed makes no sense, or whoever was asked says no: a sentence and an exit code. */
export class Refusal extends Error {
  readonly code: number;
  constructor(sentence: string, code: number) {
    super(sentence);
    this.code = code;
  }
}
