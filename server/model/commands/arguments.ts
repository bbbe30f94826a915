// What a subcommand of `models` is given: the words behind it, parsed strictly, each read or refused, and the settings. Knows
// no models.

import { type ParseArgsConfig, parseArgs } from 'node:util';
import type { LoadedSettings } from '../../../config/load.ts';
import { MODEL_NAME, STYLE_ID } from '../entries/entry-fields.ts';
import { ModelFault } from '../entries/fault.ts';
import type { TensorFormat } from '../entries/tensor-format.ts';

/** What the command needs of the settings. */
export type ModelsSettings = Pick<LoadedSettings, 'models'> & Partial<Pick<LoadedSettings, 'data_dir'>>;

/** A wrong command line; its message is followed by the usage. */
export class UsageFault extends Error {}

/** Rows for programs instead of a table. */
export const JSON_OPTION = { json: { type: 'boolean' } } as const;

/**
 * The options and names behind a subcommand.
 * @throws {UsageFault} when there is one that it has not.
 */
export function parse<T extends NonNullable<ParseArgsConfig['options']>>(
  args: readonly string[],
  options: T,
) {
  try {
    return parseArgs({ args: [...args], options, allowPositionals: true, strict: true });
  } catch (error) {
    throw new UsageFault((error as Error).message);
  }
}

/** The name of a model. */
export function nameOf(name: string | undefined): string {
  if (name !== undefined && MODEL_NAME.test(name)) return name;
  throw new UsageFault('--name: lower-case letters, digits, dots, dashes and underscores');
}

/** A style on the command line: its id, and its title for people. */
export interface AskedStyle {
  readonly id: string;
  readonly title: string;
}

/** `ID` or `ID:TITLE`. */
export function styleOf(style = ''): AskedStyle {
  const [id = '', title = id] = style.split(/:(.*)/s);
  if (!STYLE_ID.test(id))
    throw new UsageFault('--style: ID or ID:TITLE; an id has lower-case letters, digits, - and _');
  return { id, title: title || id };
}

/** Nobody adds weights without saying under which licence. */
export function acceptLicence(values: {
  licence?: string | undefined;
  'accept-licence'?: boolean | undefined;
}): void {
  if (!values.licence)
    throw new UsageFault('--licence: name the licence of the weights (AnimeGAN weights: "non-commercial")');
  if (!values['accept-licence'])
    throw new UsageFault(`--accept-licence: say that you may use these weights under "${values.licence}"`);
}

/** Where the colour channels stand. */
export function readLayout(text: string | undefined): TensorFormat['layout'] | undefined {
  if (text === undefined || text === 'NHWC' || text === 'NCHW') return text;
  throw new ModelFault(`--layout: found "${text}"; allowed: NHWC or NCHW`);
}

/** `WxH`, px. */
export function readSize(text: string): [number, number] {
  const match = /^(\d{1,5})x(\d{1,5})$/.exec(text);
  if (!match) throw new UsageFault(`--fixed: found "${text}"; allowed: WxH, such as 512x512`);
  return [Number(match[1]), Number(match[2])];
}

/** `LOW,HIGH`. */
export function readRange(text: string | undefined): [number, number] | undefined {
  if (text === undefined) return undefined;
  const numbers = text.split(',').map(Number);
  const [low, high] = numbers;
  if (numbers.length !== 2 || low === undefined || high === undefined || !(low < high))
    throw new UsageFault(
      `a range: found "${text}"; allowed: LOW,HIGH, such as --range=-1,1 or --range 0,255`,
    );
  return [low, high];
}

/** A whole number. */
export function readCount(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^\d{1,4}$/.test(text) || Number(text) < 1)
    throw new UsageFault(`found "${text}"; allowed: a whole number from 1 to 9999`);
  return Number(text);
}
