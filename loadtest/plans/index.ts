// Every plan by its name.

import { ceilingPlan } from './ceiling.ts';
import type { Plan } from './plan.ts';
import { reloadPlan } from './reload.ts';
import { soakPlan } from './soak.ts';
import { spikePlan } from './spike.ts';
import { stepsPlan } from './steps.ts';
import { stressPlan } from './stress.ts';

/** A plan and what it answers, for usage texts. */
export const PLANS = {
  ceiling: { plan: ceilingPlan, sentence: 'the highest rate that meets the service level' },
  steps: { plan: stepsPlan, sentence: 'so many users who each wait for their answer (--users)' },
  soak: {
    plan: soakPlan,
    sentence: 'an ordinary load for a long time (--qps or 0.7 of the ceiling, --duration)',
  },
  spike: { plan: spikePlan, sentence: 'three times the ordinary load for a moment, and back' },
  stress: { plan: stressPlan, sentence: 'up to three times the ceiling, and back' },
  reload: { plan: reloadPlan, sentence: 'an ordinary load while every worker is replaced' },
} as const satisfies Record<string, { readonly plan: Plan; readonly sentence: string }>;

export type PlanName = keyof typeof PLANS;
export const planNames = Object.keys(PLANS) as PlanName[];
