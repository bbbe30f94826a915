// What a check says, and what a machine's doctor reports. Pure.

import { z } from 'zod';

export const verdicts = ['ok', 'warn', 'bad'] as const;
export type Verdict = (typeof verdicts)[number];

const findingSchema = z.object({
  /** What was looked at, in a word or two. */
  check: z.string().max(100),
  verdict: z.enum(verdicts),
  found: z.string().max(5_000),
  /** What to do; only where something is not as it should be. */
  advice: z.string().max(5_000).optional(),
});
export type Finding = z.infer<typeof findingSchema>;

/** One machine, as `toonfleet doctor --json` and its agent tell it. */
export const reportSchema = z.object({
  node: z.string().max(100),
  release: z.string().max(100),
  time_zone: z.string().max(100),
  /** The digests of the model files as they are, by name. */
  models: z.record(z.string().max(100), z.string().max(100)),
  findings: z.array(findingSchema).max(500),
});
export type Report = z.infer<typeof reportSchema>;

export const ok = (check: string, found: string): Finding => ({ check, verdict: 'ok', found });
export const warn = (check: string, found: string, advice: string): Finding => ({
  check,
  verdict: 'warn',
  found,
  advice,
});
export const bad = (check: string, found: string, advice: string): Finding => ({
  check,
  verdict: 'bad',
  found,
  advice,
});

/** The worst of some verdicts. */
export function worst(findings: readonly Pick<Finding, 'verdict'>[]): Verdict {
  return verdicts[Math.max(0, ...findings.map(({ verdict }) => verdicts.indexOf(verdict)))] ?? 'ok';
}
