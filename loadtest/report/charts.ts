// Draws charts as SVG text: lines over a numeric axis, and stacked bars. Colours are CSS classes, so that one drawing
// serves light and dark. Pure.

/** A line or an area of a chart. */
export interface Series {
  readonly name: string;
  /** A CSS class that colours it. */
  readonly tone: string;
  /** x, y; a null y breaks the line. */
  readonly points: readonly (readonly [x: number, y: number | null])[];
  /** Draws the points as well; for few of them. */
  readonly dots?: boolean;
  /** Fills down to the axis. */
  readonly filled?: boolean;
}

/** A line across the chart: a limit, a ceiling. */
export interface Mark {
  readonly at: number;
  readonly axis: 'x' | 'y';
  readonly label: string;
  readonly tone: string;
}

/** A stretch of the x axis with a name, such as a step. */
export interface Band {
  readonly from: number;
  readonly to: number;
  readonly label: string;
  readonly tone: string;
}

/** A chart with lines. */
export interface LineChart {
  readonly title: string;
  readonly note?: string;
  readonly width: number;
  readonly height: number;
  readonly x: { readonly label: string; readonly unit: string };
  readonly y: {
    readonly label: string;
    readonly unit: string;
    readonly max?: number;
    readonly percent?: boolean;
  };
  readonly series: readonly Series[];
  readonly marks?: readonly Mark[];
  readonly bands?: readonly Band[];
}

const EDGE = { top: 14, right: 16, bottom: 38, left: 54 };

/** A figure with a title, a legend and the drawing. */
export function lineChart(chart: LineChart): string {
  const { width, height, series, marks = [], bands = [] } = chart;
  const xs = series
    .flatMap(({ points }) => points.map(([x]) => x))
    .concat(bands.flatMap(({ from, to }) => [from, to]));
  const ys = series.flatMap(({ points }) => points.flatMap(([, y]) => (y === null ? [] : [y])));
  const limits = marks.filter(({ axis }) => axis === 'y').map(({ at }) => at * 1.12);
  if (xs.length === 0 || ys.length === 0) return '';
  const xTicks = ticks(Math.min(...xs), Math.max(...xs), Math.max(4, Math.round(width / 110)));
  const top = chart.y.max ?? Math.max(...ys, ...limits, Number.MIN_VALUE) * 1.05;
  const yTicks = ticks(0, top, 5);
  const x = scale([Math.min(...xs), Math.max(...xs)], [EDGE.left, width - EDGE.right]);
  const y = scale([0, Math.max(top, yTicks.at(-1) ?? top)], [height - EDGE.bottom, EDGE.top]);
  const floor = height - EDGE.bottom;

  const parts = [
    ...bands.map(
      ({ from, to, label, tone }) =>
        `<g class="band ${tone}"><rect x="${f(x(from))}" y="${EDGE.top}" width="${f(Math.max(0, x(to) - x(from)))}" height="${floor - EDGE.top}"/>${x(to) - x(from) > 7 * label.length ? `<text x="${f((x(from) + x(to)) / 2)}" y="${EDGE.top + 11}" text-anchor="middle">${htmlText(label)}</text>` : ''}</g>`,
    ),
    ...yTicks.map(
      (tick) =>
        `<g class="grid"><line x1="${EDGE.left}" x2="${width - EDGE.right}" y1="${f(y(tick))}" y2="${f(y(tick))}"/><text x="${EDGE.left - 8}" y="${f(y(tick) + 4)}" text-anchor="end">${htmlText(chart.y.percent ? `${Math.round(tick * 100)} %` : short(tick))}</text></g>`,
    ),
    ...xTicks
      .filter((tick) => x(tick) >= EDGE.left - 0.5 && x(tick) <= width - EDGE.right + 0.5)
      .map(
        (tick) =>
          `<text class="tick" x="${f(x(tick))}" y="${floor + 16}" text-anchor="middle">${htmlText(short(tick))}</text>`,
      ),
    `<line class="axis" x1="${EDGE.left}" x2="${width - EDGE.right}" y1="${floor}" y2="${floor}"/>`,
    `<text class="label" x="${f((EDGE.left + width - EDGE.right) / 2)}" y="${height - 4}" text-anchor="middle">${htmlText(chart.x.label)}</text>`,
    ...series.map((each) => drawSeries(each, x, y, floor)),
    ...marks.map((mark) => drawMark(mark, x, y, width, floor)),
    `<line class="cursor" y1="${EDGE.top}" y2="${floor}" x1="0" x2="0"/>`,
  ];
  const data = {
    unit: chart.y.percent ? '%' : chart.y.unit,
    xUnit: chart.x.unit,
    percent: chart.y.percent ?? false,
    // Pixel positions beside values: the page's script only looks for the nearest.
    series: series.map(({ name, tone, points }) => ({
      name,
      tone,
      points: points.flatMap(([px, py]) => (py === null ? [] : [[Math.round(x(px) * 10) / 10, px, py]])),
    })),
  };
  return `<figure class="chart" data-chart="${htmlText(JSON.stringify(data))}">
<figcaption><b>${htmlText(chart.title)}</b>${chart.note ? `<span>${htmlText(chart.note)}</span>` : ''}${legend(series)}</figcaption>
<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${htmlText(`${chart.title}: ${chart.y.label} over ${chart.x.label}`)}">${parts.join('')}</svg>
</figure>`;
}

function drawSeries({ points, tone, dots, filled }: Series, x: Scale, y: Scale, floor: number): string {
  const runs = unbroken(points);
  const line = (run: readonly (readonly [number, number])[]) =>
    run
      .map(([px, py], index) => `${index === 0 ? 'M' : 'L'}${f(x(px))} ${f(Math.max(EDGE.top - 4, y(py)))}`)
      .join('');
  const areas = filled
    ? runs.map(
        (run) =>
          `<path class="area" d="${line(run)}L${f(x(run.at(-1)?.[0] ?? 0))} ${floor}L${f(x(run[0]?.[0] ?? 0))} ${floor}Z"/>`,
      )
    : [];
  const circles = dots
    ? runs
        .flat()
        .map(([px, py]) => `<circle cx="${f(x(px))}" cy="${f(Math.max(EDGE.top - 4, y(py)))}" r="3.2"/>`)
    : [];
  return `<g class="series ${tone}">${areas.join('')}${runs.map((run) => `<path d="${line(run)}"/>`).join('')}${circles.join('')}</g>`;
}

function unbroken(points: Series['points']): (readonly [number, number])[][] {
  const runs: (readonly [number, number])[][] = [[]];
  for (const [x, y] of points) {
    if (y === null) runs.push([]);
    else runs.at(-1)?.push([x, y]);
  }
  return runs.filter((run) => run.length > 0);
}

function drawMark({ at, axis, label, tone }: Mark, x: Scale, y: Scale, width: number, floor: number): string {
  if (axis === 'y') {
    return `<g class="mark ${tone}"><line x1="${EDGE.left}" x2="${width - EDGE.right}" y1="${f(y(at))}" y2="${f(y(at))}"/><text x="${EDGE.left + 6}" y="${f(y(at) - 5)}">${htmlText(label)}</text></g>`;
  }
  const right = x(at) > width / 2;
  return `<g class="mark ${tone}"><line x1="${f(x(at))}" x2="${f(x(at))}" y1="${EDGE.top}" y2="${floor}"/><text x="${f(x(at) + (right ? -6 : 6))}" y="${EDGE.top + 11}" text-anchor="${right ? 'end' : 'start'}">${htmlText(label)}</text></g>`;
}

/** One bar of a stack. */
export interface Bar {
  readonly label: string;
  readonly parts: readonly { readonly name: string; readonly tone: string; readonly value: number }[];
}

/** Horizontal stacked bars with a common scale. */
export function stackedBars(title: string, note: string, bars: readonly Bar[], unit: string): string {
  if (bars.length === 0) return '';
  const totals = bars.map(({ parts }) => parts.reduce((sum, { value }) => sum + value, 0));
  const [width, left, row, bar] = [1040, 130, 26, 16];
  const height = bars.length * row + 30;
  const most = Math.max(...totals, Number.MIN_VALUE);
  const x = scale([0, most], [left, width - 90]);
  const rows = bars.map(({ label, parts }, index) => {
    const top = index * row + 6;
    let at = 0;
    const rects = parts.map(({ name, tone, value }) => {
      const rect = `<rect class="${tone}" x="${f(x(at))}" y="${top}" width="${f(Math.max(0, x(at + value) - x(at) - 1))}" height="${bar}" rx="2"><title>${htmlText(`${label}: ${name} ${short(value)} ${unit}`)}</title></rect>`;
      at += value;
      return rect;
    });
    return `<g class="stack"><text x="${left - 10}" y="${top + 12}" text-anchor="end">${htmlText(label)}</text>${rects.join('')}<text class="total" x="${f(x(at) + 8)}" y="${top + 12}">${htmlText(`${short(at)} ${unit}`)}</text></g>`;
  });
  const names = new Map(bars.flatMap(({ parts }) => parts.map(({ name, tone }) => [name, tone] as const)));
  const axis = ticks(0, most, 6).filter((tick) => tick <= most);
  const grid = axis.map(
    (tick) =>
      `<g class="grid"><line x1="${f(x(tick))}" x2="${f(x(tick))}" y1="0" y2="${height - 24}"/><text x="${f(x(tick))}" y="${height - 8}" text-anchor="middle">${htmlText(short(tick))}</text></g>`,
  );
  return `<figure class="chart wide"><figcaption><b>${htmlText(title)}</b><span>${htmlText(note)}</span>${legend([...names].map(([name, tone]) => ({ name, tone })))}</figcaption>
<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${htmlText(title)}">${grid.join('')}${rows.join('')}</svg></figure>`;
}

function legend(series: readonly { readonly name: string; readonly tone: string }[]): string {
  if (series.length < 2) return '';
  return `<ul class="legend">${series.map(({ name, tone }) => `<li class="${tone}">${htmlText(name)}</li>`).join('')}</ul>`;
}

type Scale = (value: number) => number;

function scale([from, to]: readonly [number, number], [low, high]: readonly [number, number]): Scale {
  const span = to - from || 1;
  return (value) => low + ((value - from) / span) * (high - low);
}

/** Round numbers (1, 2 or 5 times a power of ten) from at most `from` up to at least `to`. */
export function ticks(from: number, to: number, count: number): number[] {
  const raw = (to - from || Math.abs(to) || 1) / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * ([1, 2, 5, 10].find((factor) => factor * power >= raw * 0.999) ?? 10);
  const first = Math.floor(from / step + 1e-9);
  const last = Math.ceil(to / step - 1e-9);
  return Array.from({ length: last - first + 1 }, (_, index) =>
    Number(((first + index) * step).toPrecision(12)),
  );
}

/** A number in as few digits as say something. */
export function short(value: number): string {
  const size = Math.abs(value);
  if (size >= 10_000) return `${Number((value / 1000).toPrecision(3))}k`;
  if (size >= 100) return value.toFixed(0);
  return String(Number(value.toPrecision(3)));
}

/** Text for HTML and for attributes in double quotes. */
export function htmlText(text: string): string {
  return text.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`);
}

/** A coordinate; a tenth of a px is finer than any screen. */
const f = (value: number) => String(Math.round(value * 10) / 10);
