// For which models, where, and how a graph is rewritten for this CPU. Knows no ONNX Runtime; exact-variant.ts does the work.

import { join } from 'node:path';
import type { LoadedSettings } from '../../../config/load.ts';
import type { InstalledModel } from '../entries/installed.ts';
import type { TensorFormat } from '../entries/tensor-format.ts';

/** How a faster graph of the same drawing may be made. */
export interface ExactOrder {
  /** Where such graphs are kept. */
  readonly folder: string;
  readonly format: TensorFormat;
  readonly multiple: number;
  /** The side of the picture that is tried, px. */
  readonly side: number;
  /** Another shape that is tried, [width, height]; undefined for a model of one size. */
  readonly another: readonly [number, number] | undefined;
}

/** What workers and commands of one machine find out about models once, for all of them. */
export const variantsIn = (dataDir: string) => join(dataDir, 'variants');

/** Where rewritten graphs are kept; undefined when files are to be drawn with as they are. */
export function exactFolderOf(settings: Pick<LoadedSettings, 'data_dir' | 'models'>): string | undefined {
  return settings.models.faster ? variantsIn(settings.data_dir) : undefined;
}

/** The side that is tried, px: large enough to be timed, small enough to start soon. */
const TRIED_SIDE = 256;
/** Of the other shape, which is not timed. */
const OTHER_SIDE = 128;

/**
 * How a model's graph is rewritten for this CPU; undefined for one that takes bytes already, as embedded ones do, and for
 * one that something else computes.
 */
export function exactOrder(model: InstalledModel, folder: string): ExactOrder | undefined {
  if (model.embedded || model.input.type === 'uint8') return undefined;
  if (model.execution_providers?.some((name) => name !== 'cpu')) return undefined;
  const { layout, channels, input, output, size_multiple: multiple, min_side, fixed_size: fixed } = model;
  // One side is tried, so a model of another fixed shape is drawn with as it is.
  if (fixed && fixed[0] !== fixed[1]) return undefined;
  const format = { layout, channels, input, output };
  if (fixed) return { folder, format, multiple: fixed[0], side: fixed[0], another: undefined };
  const sideOf = (wanted: number) => Math.ceil(Math.max(min_side, wanted) / multiple) * multiple;
  const other = sideOf(OTHER_SIDE);
  return { folder, format, multiple, side: sideOf(TRIED_SIDE), another: [other + multiple, other] };
}
