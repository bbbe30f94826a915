// The memory curves of soaks as one SVG that stands by itself. Pure.

import { lineChart } from '../report/charts.ts';
import type { Sample } from './flatness.ts';

/** One soak's curve. */
export interface Curve {
  readonly title: string;
  readonly samples: readonly Sample[];
}

const WIDTH = 960;
const HEIGHT = 420;
const LEGEND = 26;
/** Told apart by lightness as well as by colour. */
const COLOURS = ['#1b6ca8', '#d1495b', '#2e8b57', '#8a5fbf', '#b8860b', '#4a4a4a'];
/** When all colours are taken, they come again broken. */
const BROKEN = '7 4';
/** What the docs promise of a worker at 512 px. */
const PROMISED_MB = 500;

/** Resident memory over the part of each soak that is done, since some draw ten times as many pictures as others. */
export function soakPlot(curves: readonly Curve[]): string {
  const series = curves.map(({ title, samples }, at) => {
    const last = samples.at(-1)?.pictures || 1;
    return {
      name: `${title} (${last} pictures)`,
      tone: `s${at}`,
      points: samples.map(({ pictures, bytes }) => [(100 * pictures) / last, bytes / 1e6] as const),
    };
  });
  const chart = lineChart({
    title: 'Resident memory of a worker',
    width: WIDTH,
    height: HEIGHT,
    x: { label: '% of the pictures', unit: '%' },
    y: { label: 'MB', unit: 'MB' },
    series,
    marks: [{ at: PROMISED_MB, axis: 'y', label: `${PROMISED_MB} MB`, tone: 'limit' }],
  });
  const drawing = /<svg [^>]*>(.*)<\/svg>/s.exec(chart)?.[1] ?? '';
  const tone = (at: number) => COLOURS[at % COLOURS.length] ?? '#000';
  const dashes = (at: number) => (at < COLOURS.length ? 'none' : BROKEN);
  const legend = series.map(({ name }, at) => {
    const [x, y] = [60 + (at % 2) * 450, HEIGHT + 16 + Math.floor(at / 2) * LEGEND];
    return `<path d="M${x} ${y - 2}h18" stroke="${tone(at)}" stroke-width="4" stroke-dasharray="${dashes(at)}"/><text x="${x + 26}" y="${y + 2}">${escaped(name)}</text>`;
  });
  const height = HEIGHT + 14 + Math.ceil(series.length / 2) * LEGEND;
  const style = [
    'text{font:13px system-ui,sans-serif;fill:#333}',
    '.grid line{stroke:#e3e3e3}',
    '.axis{stroke:#888}',
    '.cursor{display:none}',
    '.mark line{stroke:#888;stroke-dasharray:5 4}',
    '.series path{fill:none;stroke-width:1.8}',
    ...series.map((_, at) => `.series.s${at} path{stroke:${tone(at)};stroke-dasharray:${dashes(at)}}`),
  ].join('');
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="Resident memory of a worker over a soak"><style>${style}</style><rect width="${WIDTH}" height="${height}" fill="#fff"/><text x="12" y="34">MB</text>${drawing}${legend.join('')}</svg>\n`;
}

const escaped = (text: string) => text.replace(/[&<>"]/g, (char) => `&#${char.charCodeAt(0)};`);
