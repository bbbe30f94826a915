// What the machine gives a model with nothing around it, now: the yardstick beside every figure of a real worker, since
// a machine's speed drifts.

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** Of an input, px. */
export type Shape = readonly [height: number, width: number];

/** Pictures a second of the bare model in `processes` processes at once. */
export async function bareRate(
  file: string,
  seconds: number,
  shapes: readonly Shape[],
  processes: number,
): Promise<number> {
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
        JSON.parse((await line.next()).value as string) as { pictures: number; seconds: number },
    ),
  );
  return results.reduce((sum, { pictures, seconds: took }) => sum + pictures / took, 0);
}
