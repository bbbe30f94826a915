// A composite's mask: worked out from its feather, or read from the file that it names.

import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { featheredMask, type Mask } from '../faces/mask.ts';
import { readMask } from '../pipeline/codec.ts';
import { ModelFault } from './entries/fault.ts';
import type { InstalledComposite } from './entries/installed.ts';

/**
 * The mask of a composite's crop.
 * @throws {ModelFault} for a file that is missing, is no picture, or is another one than the manifest says.
 */
export async function maskOf({
  name,
  crop,
  feather,
  mask,
  folder,
}: Pick<InstalledComposite, 'name' | 'crop' | 'feather' | 'mask' | 'folder'>): Promise<Mask> {
  if (!mask) return featheredMask(crop, feather);
  const path = join(folder, mask.file);
  try {
    const bytes = await readFile(path);
    const digest = createHash('sha256').update(bytes).digest('hex');
    if (digest !== mask.sha256)
      throw new Error(`its SHA-256 is ${digest}, but the manifest says ${mask.sha256}`);
    return await readMask(bytes, crop);
  } catch (error) {
    throw new ModelFault(`${name}: its mask ${path}: ${(error as Error).message}`, { cause: error });
  }
}
