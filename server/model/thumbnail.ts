// Draws how an added style looks, from the same photo as the thumbnails of the package, and enters the picture beside it.

import { mkdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { PACKAGE_ROOT } from '../../ops/process/package.ts';
import { thumbnailOf } from '../pipeline/codec.ts';
import { draw } from '../pipeline/pipeline.ts';
import { createSpareMemory } from '../pipeline/spare-memory.ts';
import { writeFileAtomically } from './atomic-file.ts';
import { changeEntries } from './entries/enter.ts';
import { chooseInstalled, installedIn } from './entries/installed.ts';
import type { Inference } from './inference/session.ts';
import { Library } from './library.ts';

/** NASA's portrait of Eileen Collins, which is in the public domain; 512×512. */
const SAMPLE = join(PACKAGE_ROOT, 'server/models/sample.jpg');
const SIDE = 512;

/**
 * Draws the sample photo in the style of an installed model or composite, and enters the thumbnail.
 * @throws {ModelFault} when it does not draw. {Error} when the folder cannot be written.
 */
export async function enterThumbnail(name: string, dir: string, inference: Inference): Promise<void> {
  const chosen = chooseInstalled(installedIn(dir), [name]);
  const [style] = [...chosen.models, ...chosen.composites].find((each) => each.name === name)?.styles ?? [];
  if (!style) return;
  const library = new Library(chosen, style.id, inference);
  await library.load();
  const drawn = await draw(
    {
      picture: await readFile(SAMPLE),
      model: library.style(undefined).model,
      faces: true,
      maxSide: SIDE,
      encoding: { format: 'png', quality: undefined },
    },
    { deadline: Number.POSITIVE_INFINITY, now: () => 0, gone: () => false, drawn: () => {} },
    { inference, maxPixels: SIDE * SIDE, memory: createSpareMemory() },
  );
  const thumbnail = `thumbnails/${style.id}.webp`;
  const path = join(dir, thumbnail);
  await mkdir(dirname(path), { recursive: true });
  await writeFileAtomically(path, await thumbnailOf(drawn.bytes));
  await changeEntries(dir, (entry) =>
    entry.name === name && entry.kind !== 'detector'
      ? { ...entry, styles: entry.styles.map((each) => ({ ...each, thumbnail })) }
      : entry,
  );
}
