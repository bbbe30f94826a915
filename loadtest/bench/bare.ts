// What the machine gives a model with nothing around it, now: the yardstick beside every figure of a real worker, since
// a machine's speed drifts.

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** Of an input, px. */
export type Shape = readonly [height: number, width: number];

/** What the bare model did. */
export interface BareRun {
  readonly picturesPerSecond: number;
  /** CPU time of one picture, ms. */
  readonly cpuMs: number;
}

/** Pictures a second of the bare model in `processes` processes at once. */
export async function bareRate(...run: Parameters<typeof runBare>): Promise<number> {
  return (await runBare(...run)).picturesPerSecond;
}

/** The bare model in `processes` processes at once. */
export async function runBare(
  file: string,
  seconds: number,
  shapes: readonly Shape[],
  processes: number,
): Promise<BareRun> {
  const script = fileURLToPath(
    import.meta.resolve(import.meta.url.endsWith('.ts') ? './bare-model.ts' : './bare-model.js'),
  );
  const children = Array.from({ length: processes }, () =>
    spawn(process.execPath, [...process.execArgv, script, file, String(seconds), JSON.stringify(shapes)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    }),
  );
  const lines = children.map((child) => createInterface({ input: child.stdout })[Symbol.asyncIterator]());
  await Promise.all(lines.map((line) => line.next()));
  for (const child of children) child.stdin.write('go\n');
  const results = await Promise.all(
    lines.map(
      async (line) =>
        JSON.parse((await line.next()).value as string) as {
          pictures: number;
          seconds: number;
          cpuSeconds: number;
        },
    ),
  );
  const sum = (of: (result: (typeof results)[number]) => number) =>
    results.reduce((all, result) => all + of(result), 0);
  return {
    picturesPerSecond: sum(({ pictures, seconds: took }) => pictures / took),
    cpuMs: (1000 * sum(({ cpuSeconds }) => cpuSeconds)) / sum(({ pictures }) => pictures),
  };
}
