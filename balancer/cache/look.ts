// In which ways a style is drawn by the workers of this moment, and which of them an answer shows. Pure.
//
// A look is a style, the version that its worker tells of it (weights and package) and the name of its release. Pictures
// are kept by look and only ever looked for in the looks of workers that could draw them for this client now: a new
// model or release has another look, so nothing old is given after it, and a canary's pictures stay among its clients.
// While a fleet changes over without weights, both looks are what a client may get.

import { HEADERS, isDrawnBy, type Style } from '../../config/contract.ts';
import { normaliseStyle } from '../../config/image-request.ts';

export interface Look {
  /** A style's id, whatever alias was asked for. */
  readonly style: string;
  readonly version: string;
  /** As the operator names it; empty where nobody does. */
  readonly release: string;
}

/** Who draws, as far as it is known what. */
interface Drawer {
  readonly styles: readonly Style[] | undefined;
  readonly release: string | undefined;
}

/** The different looks in which these workers would draw a style; undefined asks for each one's default. */
export function looksOf(name: string | undefined, drawers: Iterable<Drawer>): Look[] {
  const looks = new Map<string, Look>();
  for (const { styles, release = '' } of drawers) {
    const style = styles && styleNamed(name, styles);
    if (style?.version === undefined) continue;
    const look = { style: style.id, version: style.version, release };
    looks.set(JSON.stringify(look), look);
  }
  return [...looks].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, look]) => look);
}

/** A worker lists every name that means one of its styles there, so a name is looked up here and need not be understood. */
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
  const looks = new Map<string, Look>();
  for (const { styles, release = '' } of drawers) {
    if (release !== (headers[HEADERS.release] ?? '')) continue;
    for (const { id: style, version } of styles ?? [])
      if (style === id && version !== undefined && isDrawnBy(headers[HEADERS.model], version))
        looks.set(version, { style, version, release });
  }
  const [look, ...others] = looks.values();
  return others.length === 0 ? look : undefined;
}
