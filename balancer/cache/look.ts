// In which ways a style is drawn by the workers of this moment, and which of them an answer shows. Pure.
//
// A look is a style and the version that its worker tells of it (weights and release). Pictures are kept by look and
// only ever looked for in the looks of workers that could draw them now: a new model or a new release has another look,
// so nothing old is given after it. While a fleet changes over, both looks are what a client may get.

import { HEADERS, isDrawnBy, type Style } from '../../config/contract.ts';
import { normaliseStyle } from '../../config/image-request.ts';

export interface Look {
  /** A style's id, whatever alias was asked for. */
  readonly style: string;
  readonly version: string;
}

/** Who draws, as far as it is known what. */
interface Drawer {
  readonly styles: readonly Style[] | undefined;
}

/** The different looks in which these workers would draw a style; undefined asks for each one's default. */
export function looksOf(name: string | undefined, drawers: Iterable<Drawer>): Look[] {
  const looks = new Map<string, Look>();
  for (const { styles } of drawers) {
    const style = styles && styleNamed(name, styles);
    if (style?.version !== undefined)
      looks.set(`${style.id} ${style.version}`, { style: style.id, version: style.version });
  }
  return [...looks.values()].sort((a, b) => (a.version < b.version ? -1 : 1));
}

function styleNamed(name: string | undefined, styles: readonly Style[]): Style | undefined {
  if (name === undefined) return styles.find((style) => style.default);
  const wanted = normaliseStyle(name);
  return (
    styles.find(({ id }) => normaliseStyle(id) === wanted) ??
    styles.find(({ aliases }) => aliases.some((alias) => normaliseStyle(alias) === wanted))
  );
}

/**
 * The look that an answer has, by its headers; undefined when no worker, or more than one, is known that draws so:
 * then nobody can say under which look it belongs.
 */
export function lookOfAnswer(
  headers: Readonly<Record<string, string>>,
  drawers: Iterable<Drawer>,
): Look | undefined {
  const id = headers[HEADERS.style];
  const versions = new Set<string>();
  for (const { styles } of drawers)
    for (const { id: other, version } of styles ?? [])
      if (other === id && version !== undefined && isDrawnBy(headers[HEADERS.model], version))
        versions.add(version);
  const [version, ...others] = versions;
  return id !== undefined && version !== undefined && others.length === 0
    ? { style: id, version }
    : undefined;
}
