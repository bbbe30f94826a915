// The picture of a report that the docs show: Chromium draws the page as a person sees it in the light, whole.
//
//   npm run make:report-picture [-- REPORT.html [OUT.webp]]

import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import sharp from 'sharp';
import { PACKAGE_ROOT } from '../../ops/process/package.ts';

const USAGE = `Usage: npm run make:report-picture [-- REPORT.html [OUT.webp]]

Draws a load test's HTML report with Chromium. REPORT.html is out/plans/ceiling.html unless told otherwise, which
"npm run bench plans" leaves; OUT.webp is docs/images/loadtest-report.webp.

Examples:
  npm run bench -- plans --plans ceiling && npm run make:report-picture
  npm run make:report-picture -- report.html out/report.webp
`;

const WIDTH = 1120;
/** Taller than any report; what is empty below is cut off. */
const HEIGHT = 8000;
const MARGIN = 24;
const BROWSERS = ['chromium', 'chromium-browser', 'google-chrome'];

process.exitCode = await makePicture(process.argv.slice(2));

async function makePicture(args: readonly string[]): Promise<number> {
  const fault = (sentence: string) => {
    process.stderr.write(`${sentence}\n\n${USAGE}`);
    return 2;
  };
  const [given = 'out/plans/ceiling.html', to = join(PACKAGE_ROOT, 'docs/images/loadtest-report.webp')] =
    args;
  if (args.includes('--help')) {
    process.stdout.write(USAGE);
    return 0;
  }
  const report = resolve(given);
  if (args.length > 2 || !existsSync(report)) return fault(`There is no report ${report}.`);
  const browser = BROWSERS.find((name) => spawnSync(name, ['--version']).status === 0);
  if (!browser) return fault(`None of ${BROWSERS.join(', ')} is installed.`);
  const dir = mkdtempSync(join(tmpdir(), 'toonfleet-picture-'));
  try {
    const shot = join(dir, 'page.png');
    const flags = [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-background-networking',
      '--hide-scrollbars',
      `--user-data-dir=${dir}`,
      `--window-size=${WIDTH},${HEIGHT}`,
      `--screenshot=${shot}`,
    ];
    const { status, stderr } = spawnSync(browser, [...flags, pathToFileURL(report).href], {
      timeout: 60_000,
    });
    if (status !== 0 || !existsSync(shot)) {
      process.stderr.write(`${browser} ended with ${status}:\n${stderr}\n`);
      return 1;
    }
    const { width, height } = await trimmed(shot, to);
    process.stdout.write(`${to}: ${width} × ${height} px\n`);
    return 0;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** Cuts off what is empty, and gives the page a margin in its own colour again. */
async function trimmed(shot: string, to: string): Promise<{ width: number; height: number }> {
  const [r = 255, g = 255, b = 255] = await sharp(shot)
    .extract({ left: 0, top: 0, width: 1, height: 1 })
    .removeAlpha()
    .raw()
    .toBuffer();
  const background = { r, g, b };
  const page = await sharp(shot).removeAlpha().trim({ background, threshold: 2 }).toBuffer();
  const margins = { top: MARGIN, bottom: MARGIN, left: MARGIN, right: MARGIN };
  return sharp(page)
    .extend({ ...margins, background })
    .webp({ quality: 82 })
    .toFile(to);
}
