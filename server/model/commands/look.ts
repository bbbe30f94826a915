// The thumbnail of a style that was just entered, drawn here and now.

import { withInference } from '../inference/session.ts';
import { enterThumbnail } from '../thumbnail.ts';

/** Enters a thumbnail; a style without one is a style all the same. */
export async function enterLook(name: string, dir: string): Promise<void> {
  try {
    await withInference((inference) => enterThumbnail(name, dir, inference));
  } catch (error) {
    console.error(`there is no thumbnail: ${(error as Error).message}`);
  }
}
