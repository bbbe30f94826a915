// Which installed style a name means. Pure. Names of AnimeGANv2 and AnimeGANv3 mean their real weights when those are
// installed, else the embedded style that comes nearest; the answer says which was drawn (X-Style).

import { normaliseStyle } from '../../config/image-request.ts';
import type { StyleModel } from './entries/installed.ts';

/** A style that can be drawn. */
export interface InstalledStyle {
  readonly id: string;
  readonly title: string;
  readonly aliases: readonly string[];
  readonly thumbnail: string | undefined;
  readonly model: StyleModel;
}

/** One of the known looks: the names it goes by, and the embedded style that comes nearest. */
interface Family {
  readonly names: readonly string[];
  readonly nearest: string;
}

/** The names under which people know these looks, best known first. */
export const FAMILIES: readonly Family[] = [
  {
    nearest: 'meadow',
    names: [
      'hayao',
      'hayao_64',
      'hayao_60',
      'hayao_99',
      'hayao_36',
      'animeganv2_hayao',
      'animeganv3_hayao',
      'animeganv3_hayao_36',
      'animeganv3_tiny_hayao',
    ],
  },
  {
    nearest: 'sky',
    names: [
      'shinkai',
      'shinkai_53',
      'shinkai_37',
      'animeganv2_shinkai',
      'animeganv3_shinkai',
      'animeganv3_shinkai_37',
    ],
  },
  {
    nearest: 'dusk',
    names: ['paprika', 'paprika_54', 'paprika_98', 'animeganv2_paprika', 'arcane', 'animeganv3_arcane'],
  },
  {
    nearest: 'ink',
    names: [
      'portraitsketch',
      'portrait_sketch',
      'animeganv3_portraitsketch',
      'animeganv3_portraitsketch_25',
      'sketch',
      'comic',
      'animeganv3_comic',
    ],
  },
  { nearest: 'meadow', names: ['cute', 'tiny_cute', 'animeganv3_cute', 'animeganv3_tiny_cute'] },
  {
    nearest: 'meadow',
    names: ['face_paint', 'face_paint_512_v1', 'face_paint_512_v2', 'celeba_distill', 'facepaintv2'],
  },
  {
    nearest: 'meadow',
    names: ['jp_face', 'jp_face_v1_0', 'animeganv3_jp_face', 'animeganv3_jp_face_v1_0'],
  },
  {
    nearest: 'meadow',
    names: [
      'portrait',
      'faces',
      'dct_net',
      'dctnet',
      'dct_net_anime',
      'cartoon_anime',
      'person_image_cartoon',
    ],
  },
  { nearest: 'meadow', names: ['disney', 'pixar', 'animeganv3_disney', 'animeganv3_pixar'] },
];

/** The styles of a set of models, in its order. */
export function stylesOf(models: readonly StyleModel[]): InstalledStyle[] {
  return models.flatMap((model) =>
    model.styles.map(({ id, title, aliases, thumbnail }) => ({ id, title, aliases, thumbnail, model })),
  );
}

/**
 * The style that a name means: its id, an alias of an added model, an alias of an embedded one, a relative of its family
 * that is installed, or the embedded style nearest to its family. Undefined when the name is not known at all.
 */
export function resolveStyle(name: string, styles: readonly InstalledStyle[]): InstalledStyle | undefined {
  const wanted = normaliseStyle(name);
  const own = (style: InstalledStyle) => normaliseStyle(style.id) === wanted;
  const alias = (style: InstalledStyle) => style.aliases.some((other) => normaliseStyle(other) === wanted);
  const added = styles.filter((style) => !style.model.embedded);
  const exact = styles.find(own) ?? added.find(alias) ?? styles.find(alias);
  if (exact) return exact;
  const family = FAMILIES.find(({ names }) => names.includes(wanted));
  if (!family) return undefined;
  const belongs = ({ id, aliases }: InstalledStyle) =>
    [id, ...aliases].some((other) => family.names.includes(normaliseStyle(other)));
  return added.find(belongs) ?? styles.find((style) => style.id === family.nearest);
}

/** Every name besides its id that means this style among these styles. */
export function aliasesOf(style: InstalledStyle, styles: readonly InstalledStyle[]): string[] {
  const names = [...style.aliases, ...FAMILIES.flatMap((family) => family.names)];
  return [...new Set(names)].filter((name) => name !== style.id && resolveStyle(name, styles) === style);
}
