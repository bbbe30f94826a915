// A turn, a scale and a shift of the plane: how a face is brought to where a model expects it, and back. Pure.
// Never a mirror: a face that is turned over is another face.

/** A point, px; the centre of a picture's first pixel is (0, 0). */
export interface Point {
  readonly x: number;
  readonly y: number;
}

/** (x, y) ↦ (a·x − b·y + x₀, b·x + a·y + y₀). */
export interface Similarity {
  readonly a: number;
  readonly b: number;
  readonly x: number;
  readonly y: number;
}

/**
 * The similarity that brings points the nearest to others, by least squares (Umeyama, 1991): in the plane a turn and a
 * scale are one complex factor, so the best one is a quotient of two sums, and no mirror can come out of it.
 * @throws {RangeError} when the points fall into one, or there are not as many as others.
 */
export function fitSimilarity(from: readonly Point[], to: readonly Point[]): Similarity {
  if (from.length !== to.length || from.length < 2)
    throw new RangeError('two points and two others at least');
  const [p, q] = [middle(from), middle(to)];
  let [real, imaginary, spread] = [0, 0, 0];
  from.forEach(({ x, y }, index) => {
    const other = to[index] ?? q;
    const [dx, dy, ex, ey] = [x - p.x, y - p.y, other.x - q.x, other.y - q.y];
    real += dx * ex + dy * ey;
    imaginary += dx * ey - dy * ex;
    spread += dx * dx + dy * dy;
  });
  if (!(spread > 1e-9)) throw new RangeError('the points fall into one');
  const [a, b] = [real / spread, imaginary / spread];
  return { a, b, x: q.x - a * p.x + b * p.y, y: q.y - b * p.x - a * p.y };
}

/** The way back. */
export function inverse({ a, b, x, y }: Similarity): Similarity {
  const square = a * a + b * b;
  const [c, d] = [a / square, -b / square];
  return { a: c, b: d, x: -c * x + d * y, y: -d * x - c * y };
}

/** Where a point goes. */
export function moved({ x, y }: Point, by: Similarity): Point {
  return { x: by.a * x - by.b * y + by.x, y: by.b * x + by.a * y + by.y };
}

/** How many times as large things become. */
export function scaleOf({ a, b }: Similarity): number {
  return Math.hypot(a, b);
}

function middle(points: readonly Point[]): Point {
  const sum = points.reduce((so, { x, y }) => ({ x: so.x + x, y: so.y + y }), { x: 0, y: 0 });
  return { x: sum.x / points.length, y: sum.y / points.length };
}
