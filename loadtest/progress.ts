// What people see while a run goes on: one line that renews itself in a terminal, plain lines elsewhere.

import type { StepProgress } from './generator.ts';
import type { Step } from './result.ts';

/** Where lines go; a terminal or a file. */
export interface Output {
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
  write(text: string): unknown;
}

/** Without a terminal, a running step says so this often, ms. */
const PLAIN_PERIOD_MS = 10_000;

/** Shows a run. */
export class Display {
  readonly #output: Output;
  readonly #quiet: boolean;
  readonly #now: () => number;
  #lineOpen = false;
  #lastPlain = 0;

  constructor(output: Output, quiet: boolean, now: () => number = Date.now) {
    this.#output = output;
    this.#quiet = quiet;
    this.#now = now;
  }

  /** A line that stays. */
  say(line: string): void {
    if (this.#quiet) return;
    this.#closeLine();
    this.#output.write(`${line}\n`);
  }

  /** The state of the running step. */
  progress(progress: StepProgress): void {
    if (this.#quiet) return;
    if (this.#output.isTTY) {
      const line = progressLine(progress, true).slice(0, (this.#output.columns ?? 120) - 1);
      this.#output.write(`\r\x1b[2K${line}`);
      this.#lineOpen = true;
    } else if (this.#now() - this.#lastPlain >= PLAIN_PERIOD_MS) {
      if (progress.elapsedS > 1) this.#output.write(`${progressLine(progress, false)}\n`);
      this.#lastPlain = this.#now();
    }
  }

  /** A step is over. */
  stepDone(step: Step): void {
    this.say(stepLine(step));
    this.#lastPlain = this.#now();
  }

  #closeLine(): void {
    if (this.#lineOpen) this.#output.write('\r\x1b[2K');
    this.#lineOpen = false;
  }
}

const bar = (share: number) => '█'.repeat(Math.round(Math.min(1, share) * 12)).padEnd(12, '░');

/** A running step in one line. Pure. */
export function progressLine(progress: StepProgress, withBar: boolean): string {
  const { label, elapsedS, plannedS, ok, shed, failed, inFlight, p95Ms, lateP99Ms } = progress;
  const time =
    elapsedS > plannedS
      ? 'last answers'
      : `${withBar ? `${bar(elapsedS / plannedS)} ` : ''}${elapsedS.toFixed(0)}/${plannedS.toFixed(0)} s`;
  return `  ${label}  ${time}  pictures ${ok}  P95 ${seconds(p95Ms)}  in flight ${inFlight}${shed > 0 ? `  shed ${shed}` : ''}${failed > 0 ? `  failed ${failed}` : ''}  late ${lateP99Ms.toFixed(1)} ms`;
}

const MARKS = { met: '✓', 'not met': '✗', invalid: '!', 'not graded': '·' } as const;

/** A finished step in one line. Pure. */
export function stepLine(step: Step): string {
  const p95 = step.latency_ms ? seconds(step.latency_ms.p95) : 'no picture';
  return `${MARKS[step.verdict]} ${step.purpose.padEnd(8)} ${step.label.padEnd(12)} ${step.achieved_qps.toFixed(2)}/s back  P95 ${p95}  errors ${(step.error_rate * 100).toFixed(1)} %${step.why === '' ? '' : `  (${step.why})`}`;
}

const seconds = (ms: number) => (ms >= 1000 ? `${(ms / 1000).toFixed(2)} s` : `${ms.toFixed(0)} ms`);
