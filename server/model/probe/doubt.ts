// What becomes of a range that running the model could not tell: the person at the terminal chooses; where there is nobody,
// the usual one is taken, aloud.

import { createInterface } from 'node:readline/promises';
import { ModelFault } from '../entries/fault.ts';
import { type RangeVerdict, type Reading, type ValueRange, words } from './range-verdict.ts';

/** Puts a question to a person, and gives the line that was typed. */
export type Ask = (question: string) => Promise<string>;

/** What most of these networks take. */
const USUAL: ValueRange = [-1, 1];
const MOST_SHOWN = 4;

/** The person at this process's terminal; undefined where there is none. */
export function personAtTerminal(): Ask | undefined {
  if (!process.stdin.isTTY || !process.stderr.isTTY) return undefined;
  return async (question) => {
    const terminal = createInterface({ input: process.stdin, output: process.stderr });
    try {
      return await terminal.question(question);
    } finally {
      terminal.close();
    }
  };
}

/**
 * The ranges that are meant.
 * @param say Hears the warning where nobody can be asked.
 * @throws {ModelFault} when the person chose none.
 */
export async function settleDoubt(
  { readings, why }: RangeVerdict & { kind: 'unsure' },
  ask: Ask | undefined,
  say: (sentence: string) => void,
): Promise<Pick<Reading, 'input' | 'output'>> {
  if (!ask || readings.length === 0) {
    say(
      `WARNING: it is not sure which values are black and full light (${why}). ${USUAL.join(' to ')} is taken, the usual one; ` +
        'look at a picture, and add it again with --range LOW,HIGH where that is wrong.',
    );
    return { input: USUAL, output: USUAL };
  }
  const shown = readings.slice(0, MOST_SHOWN);
  const lines = shown.map(
    (each, at) => `  ${at + 1}  ${words(each)}  (${each.distance.toFixed(2)} from the photo)`,
  );
  const answer = await ask(`Which values does it take?\n${lines.join('\n')}\nIts number: `);
  const chosen = shown[Number(answer) - 1];
  if (chosen) return chosen;
  throw new ModelFault('no range was chosen, and nothing was written; --range LOW,HIGH says it beforehand');
}
