// Which model a bench of real workers measures: the embedded default, or a file of the test assets.

import { existsSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { PACKAGE_ROOT } from '../../ops/process/package.ts';

/** A model to measure. */
export interface BenchModel {
  /** For tables. */
  readonly title: string;
  readonly file: string;
  /** The style by which it is asked for. */
  readonly style: string;
  /** Sides are padded to a multiple of this, px. */
  readonly multiple: number;
  /** Whether it has to be added to the fleet first. */
  readonly added: boolean;
}

/** What `--model` and `--on` call the small one of the test assets. */
export const TINY = 'AnimeGANv3_tiny_Cute.onnx';

/** The folder of photos and weights for tests. */
export const assetsDir = () => resolve(process.env.TOONFLEET_TEST_ASSETS ?? '../shared');

/** `embedded`, a path, or the name of a file in the assets; undefined when it is not there. */
export function benchModel(name: string): BenchModel | undefined {
  if (name === 'embedded') {
    const file = join(PACKAGE_ROOT, 'server/models/embedded/meadow.onnx');
    return { title: 'embedded default', file, style: 'meadow', multiple: 1, added: false };
  }
  const file = resolve(assetsDir(), 'models', name);
  if (!existsSync(file)) return undefined;
  return { title: basename(name, '.onnx'), file, style: 'bench', multiple: 16, added: true };
}
