// What less effort means: the sizes that a picture may be drawn at instead of its full one, and how an answer says which it
// was. The balancer reckons with them and a worker draws by them. Pure.

/** Sides of a picture, px; undefined where a header was cut before it told them. */
export interface PictureSides {
  readonly width?: number | undefined;
  readonly height?: number | undefined;
}

/** Less effort never goes below this side, px. */
export const LEAST_SIDE = 256;

/**
 * The longest sides that `auto` may go down to, px: eight, up to the largest that the settings allow, so that a session
 * never sees more sizes for being in a hurry. Each has about half of the pixels of the one above it.
 */
export const LESSER_SIDES: readonly number[] = [3072, 2048, 1536, 1024, 768, 512, 384, LEAST_SIDE];

/** The longest side of an answer that nothing is spared on, px. */
export function fullSide({ width, height }: PictureSides, maxSide: number): number {
  return width === undefined || height === undefined ? maxSide : Math.min(maxSide, Math.max(width, height));
}

/** The longest side that `fast` draws at: half of the full one, a quarter of the work; but not below LEAST_SIDE. */
export function fastSide(full: number): number {
  return Math.max(Math.min(full, LEAST_SIDE), Math.round(full / 2));
}

/** The longest sides that `auto` may choose from, the full one first. */
export function autoSides(full: number): readonly [number, ...number[]] {
  return [full, ...LESSER_SIDES.filter((side) => side < full)];
}

/** How an answer was drawn. */
export interface Effort {
  /** Its longest side, px, where that was less than the full one. */
  readonly side?: number | undefined;
  /** The style that was drawn instead of the wanted one. */
  readonly style?: string | undefined;
}

/** The `X-Effort` of an answer: `full`, or `fast` with what was spared. */
export function effortHeader({ side, style }: Effort): string {
  if (side === undefined && style === undefined) return 'full';
  return ['fast', ...(side ? [`side=${side}`] : []), ...(style ? [`style=${style}`] : [])].join('; ');
}

/** Reads an `X-Effort`; a worker that says nothing spared nothing. */
export function readEffort(header: string | undefined): Effort {
  const side = /;\s*side=(\d{1,5})\b/.exec(header ?? '')?.[1];
  const style = /;\s*style=([a-z0-9_-]+)/.exec(header ?? '')?.[1];
  return { side: side === undefined ? undefined : Number(side), style };
}
