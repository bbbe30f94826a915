// The options of `toonfleet models add`, and what a preset says where they say nothing. Pure.

import { isPreset, PRESETS } from '../entries/presets.ts';
import type { parse } from './arguments.ts';

/** As `parseArgs` wants them. */
export const ADD_OPTIONS = {
  name: { type: 'string' },
  style: { type: 'string' },
  licence: { type: 'string' },
  'accept-licence': { type: 'boolean' },
  layout: { type: 'string' },
  channels: { type: 'string' },
  range: { type: 'string' },
  'out-range': { type: 'string' },
  multiple: { type: 'string' },
  'min-side': { type: 'string' },
  fixed: { type: 'string' },
  preset: { type: 'string' },
  detector: { type: 'boolean' },
  spec: { type: 'string' },
  part: { type: 'boolean' },
  alias: { type: 'string', multiple: true },
  source: { type: 'string' },
  'dry-run': { type: 'boolean' },
} as const;

/** The options that stand on a command line. */
export type AddValues = ReturnType<typeof parse<typeof ADD_OPTIONS>>['values'];

/** What the preset of a generator says, as far as an entry may say it. */
type PresetEntry = { readonly [key: string]: unknown } & {
  readonly fixed_size?: readonly number[];
  readonly input?: { readonly range: readonly number[] };
};

/** The numbers of the preset, where one is named. */
export const presetOf = ({ preset }: Pick<AddValues, 'preset'>): PresetEntry =>
  isPreset(preset) ? PRESETS[preset] : {};

/** The options with what a preset says where the command line says nothing. */
export function withPresetOptions(values: AddValues): AddValues {
  const { channels, size_multiple, min_side, fixed_size, input } = presetOf(values);
  return {
    ...(channels === undefined ? {} : { channels: String(channels) }),
    ...(size_multiple === undefined ? {} : { multiple: String(size_multiple) }),
    ...(min_side === undefined ? {} : { 'min-side': String(min_side) }),
    ...(fixed_size ? { fixed: fixed_size.join('x') } : {}),
    ...(input ? { range: input.range.join(',') } : {}),
    ...values,
  };
}

/** True for a model that only draws parts of pictures, for a composite. */
export const isPart = ({ part, preset }: AddValues) => part === true || preset === 'dct-net-head';
