// The files that an entry of a manifest names. Pure.

import type { AnyEntry } from './manifest.ts';

/** All of them, relative to the manifest. */
export function filesOf(entry: AnyEntry): string[] {
  const styles = entry.kind === 'detector' ? [] : entry.styles;
  const thumbnails = styles.flatMap(({ thumbnail }) => thumbnail ?? []);
  switch (entry.kind) {
    case 'generator':
      return [entry.file, ...(entry.variants ?? []).map(({ file }) => file), ...thumbnails];
    case 'detector':
      return [entry.file];
    case 'face-composite':
      return [...(entry.mask ? [entry.mask.file] : []), ...thumbnails];
  }
}
