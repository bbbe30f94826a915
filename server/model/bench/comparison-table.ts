// The table of `npm run bench models`: from what each contender's pictures cost to rows of figures. Pure.

/** What was measured of one contender. */
export interface Measured {
  readonly title: string;
  /** CPU time of each picture from bytes to bytes, ms, in the order of the rounds. */
  readonly cpuMs: readonly number[];
  /** Resident memory of its process after the last picture, bytes. */
  readonly rssBytes: number;
  /** Against the float file at level `all`, photo by photo; dB. */
  readonly psnr: readonly number[];
  readonly ssim: readonly number[];
}

/** A contender that did not draw, and why. */
export interface Absent {
  readonly title: string;
  readonly why: string;
}

/** One contender's figures. */
export interface Row {
  readonly title: string;
  /** Median CPU time of a picture, ms. */
  readonly ms: number;
  /** Pictures a second of one core. */
  readonly perSecond: number;
  /** How many times as fast as ONNX Runtime's defaults, and as its level `all`: medians of the rounds' ratios. */
  readonly againstDefaults: number | undefined;
  readonly againstAll: number | undefined;
  /** Resident memory, MB. */
  readonly megabytes: number;
  /** The worst photo's. */
  readonly psnr: number;
  readonly ssim: number;
}

/** The value in the middle; the mean of the two middle ones of an even number. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((one, other) => one - other);
  const middle = sorted.length / 2;
  const [low, high] = [sorted[Math.ceil(middle) - 1], sorted[Math.floor(middle)]];
  return low === undefined || high === undefined ? Number.NaN : (low + high) / 2;
}

/**
 * Every contender's row.
 * @param defaults The title of ONNX Runtime with its defaults; `all` that of its level `all`.
 */
export function rowsOf(
  measured: readonly Measured[],
  { defaults, all }: { readonly defaults: string; readonly all: string },
): Row[] {
  const against = (title: string, own: Measured) => {
    const other = measured.find((each) => each.title === title);
    // Round by round: what else the machine did in a round met both.
    return other && median(own.cpuMs.map((ms, round) => (other.cpuMs[round] ?? Number.NaN) / ms));
  };
  return measured.map((each) => ({
    title: each.title,
    ms: median(each.cpuMs),
    perSecond: 1000 / median(each.cpuMs),
    againstDefaults: against(defaults, each),
    againstAll: against(all, each),
    megabytes: each.rssBytes / 1e6,
    psnr: Math.min(...each.psnr),
    ssim: Math.min(...each.ssim),
  }));
}

/** The rows of a model as Markdown, and a sentence for each contender that did not draw. */
export function comparisonTable(name: string, rows: readonly Row[], absent: readonly Absent[]): string {
  const times = (ratio: number | undefined) => (ratio === undefined ? '' : `${ratio.toFixed(2)} ×`);
  const lines = rows.map(
    ({ title, ms, perSecond, againstDefaults, againstAll, megabytes, psnr, ssim }) =>
      `| ${title} | ${ms.toFixed(0)} | ${perSecond.toFixed(2)} | ${times(againstDefaults)} | ${times(againstAll)} | ${megabytes.toFixed(0)} | ${psnr >= 99 ? 'equal' : psnr.toFixed(1)} | ${ssim.toFixed(4)} |`,
  );
  return [
    `| ${name} | CPU ms | pictures/s and core | to defaults | to level all | resident MB | PSNR dB | SSIM |`,
    '| --- | --- | --- | --- | --- | --- | --- | --- |',
    ...lines,
    ...absent.map(({ title, why }) => `\n${title} is missing: ${why}`),
  ].join('\n');
}
