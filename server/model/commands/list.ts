// `toonfleet models list`: what is installed.

import { installedIn, SOURCE_VARIANT } from '../entries/installed.ts';
import { JSON_OPTION, type ModelsSettings, parse } from './arguments.ts';
import { print } from './table.ts';

/** Prints every generator, composite and detector. */
export function list(args: readonly string[], settings: ModelsSettings): number {
  const { values } = parse(args, JSON_OPTION);
  const { models, composites, detectors } = installedIn(settings.models.dir);
  const generators = models.map((model) => ({
    model: model.name,
    style: model.styles.map(({ id }) => id).join(' '),
    variants: [SOURCE_VARIANT, ...(model.variants ?? []).map(({ name }) => name)].join(' '),
    size: model.fixed_size ? model.fixed_size.join('×') : `any ×${model.size_multiple}`,
    licence: model.licence,
    file: model.path,
  }));
  const faces = composites.map((model) => ({
    model: model.name,
    style: model.styles.map(({ id }) => id).join(' '),
    variants: model.variant,
    size: `faces ${model.crop}×${model.crop}`,
    licence: model.licence,
    file: `${model.detector.name} + ${model.face.name} over ${model.background.name}`,
  }));
  const finders = detectors.map(({ name, side, licence, path }) => ({
    model: name,
    style: '',
    variants: 'detector',
    size: `up to ${side}`,
    licence,
    file: path,
  }));
  print([...generators, ...faces, ...finders], values.json === true);
  return 0;
}
