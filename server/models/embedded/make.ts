// Writes the embedded styles: every look of looks.ts as <id>.onnx beside this file.
// usage: npm run make:styles [-- --time]

import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { encodeLook, looks } from './looks.ts';

const timed = process.argv.includes('--time');

for (const look of looks) {
  const file = encodeLook(look);
  await writeFile(fileURLToPath(new URL(`${look.id}.onnx`, import.meta.url)), file);
  const sha256 = createHash('sha256').update(file).digest('hex');
  const time = timed ? `  ${(await medianMs(file)).toFixed(1)} ms at 512×512 on one thread` : '';
  console.log(`${look.id.padEnd(8)}${String(file.length).padStart(7)} bytes  sha256 ${sha256}${time}`);
}

/** Median of twenty runs on a picture of coloured noise, which leaves no shortcut to the arithmetic. */
async function medianMs(file: Uint8Array): Promise<number> {
  const session = await InferenceSession.create(file, { intraOpNumThreads: 1, interOpNumThreads: 1 });
  const noise = Uint8Array.from({ length: 512 * 512 * 3 }, (_, index) => (index * 2654435761) >>> 24);
  const image = new Tensor('uint8', noise, [1, 512, 512, 3]);
  await session.run({ image });
  const runs: number[] = [];
  for (let run = 0; run < 20; run++) {
    const started = performance.now();
    await session.run({ image });
    runs.push(performance.now() - started);
  }
  await session.release();
  runs.sort((a, b) => a - b);
  return ((runs[9] ?? 0) + (runs[10] ?? 0)) / 2;
}
