// The models that `models pull` knows: where their weights are published, under which licence, and how they take a picture.
// A SHA-256 stands here only when at least two projects that have nothing to do with each other fetch the very address and
// check for it; else the first pull records what it got. Pure.

/** One model of the catalogue. */
export interface CatalogueEntry {
  readonly name: string;
  readonly style: string;
  readonly title: string;
  readonly licence: string;
  readonly source: string;
  readonly aliases: readonly string[];
  readonly multiple: number;
  readonly minSide: number;
  /** The values of black and of full light, in and out. */
  readonly range: readonly [black: number, white: number];
  /** How it can be had: as an ONNX file, or not as one, and what to do then. */
  readonly weights:
    | { readonly kind: 'onnx'; readonly url: string; readonly sha256?: string }
    | { readonly kind: 'elsewhere'; readonly advice: string };
}

const V3 = 'https://github.com/TachibanaYoshino/AnimeGANv3';
const V2 = 'https://github.com/TachibanaYoshino/AnimeGANv2';
const PYTORCH = 'https://github.com/bryandlee/animegan2-pytorch';
const DCT = 'https://github.com/menyifang/DCT-Net';
const NON_COMMERCIAL = 'non-commercial (TachibanaYoshino)';

const v3 = { licence: NON_COMMERCIAL, source: V3, multiple: 8, minSide: 256, range: [-1, 1] } as const;
const v2 = { licence: NON_COMMERCIAL, source: V2, multiple: 32, minSide: 256, range: [-1, 1] } as const;
const pytorch = {
  licence: 'code MIT; ask before commercial use of the weights (bryandlee)',
  source: PYTORCH,
  multiple: 32,
  minSide: 256,
  range: [-1, 1],
} as const;
const onnx = (url: string, sha256?: string) =>
  ({ kind: 'onnx', url, ...(sha256 === undefined ? {} : { sha256 }) }) as const;
const elsewhere = (advice: string) => ({ kind: 'elsewhere', advice }) as const;
const FROM_PYTORCH = elsewhere(
  `is published as PyTorch weights only (${PYTORCH}); export it with torch.onnx.export, then: toonfleet models add FILE --layout NCHW --multiple 32`,
);
const FROM_AUTHOR = elsewhere(
  `is given out by its author (${V3}); take its ONNX file from there, then: toonfleet models add FILE`,
);

/** Everything that can be asked for, best known first. */
export const CATALOGUE: readonly CatalogueEntry[] = [
  {
    ...v3,
    name: 'animeganv3-hayao',
    style: 'hayao',
    title: 'Hayao',
    aliases: ['hayao_36', 'animeganv3_hayao_36'],
    weights: onnx(
      `${V3}/releases/download/v1.1.0/AnimeGANv3_Hayao_36.onnx`,
      '95ba7b219073fd5b12f569bc38056ffd3019cf4caf15b1feb9f73d1286c9f69d',
    ),
  },
  {
    ...v3,
    name: 'animeganv3-shinkai',
    style: 'shinkai',
    title: 'Shinkai',
    aliases: ['shinkai_37', 'animeganv3_shinkai_37'],
    weights: onnx(`${V3}/releases/download/v1.1.0/AnimeGANv3_Shinkai_37.onnx`),
  },
  {
    ...v3,
    name: 'animeganv3-jp-face',
    style: 'jp_face',
    title: 'JP face',
    aliases: ['animeganv3_jp_face'],
    weights: onnx('https://huggingface.co/vumichien/AnimeGANv3_JP_face/resolve/main/AnimeGANv3_JP_face.onnx'),
  },
  {
    ...v3,
    name: 'animeganv3-portrait-sketch',
    style: 'portrait_sketch',
    title: 'Portrait sketch',
    aliases: ['animeganv3_portraitsketch'],
    weights: onnx(
      'https://huggingface.co/vumichien/AnimeGANv3_PortraitSketch/resolve/main/AnimeGANv3_PortraitSketch.onnx',
    ),
  },
  {
    ...v3,
    name: 'animeganv3-tiny-cute',
    style: 'cute',
    title: 'Cute',
    aliases: ['tiny_cute', 'animeganv3_tiny_cute'],
    multiple: 16,
    weights: FROM_AUTHOR,
  },
  ...['Arcane', 'Comic', 'Disney', 'Pixar', 'Kpop', 'USA', 'Oil', '8bit'].map((look) => ({
    ...v3,
    name: `animeganv3-${look.toLowerCase()}`,
    style: look.toLowerCase(),
    title: look,
    aliases: [`animeganv3_${look.toLowerCase()}`],
    weights: FROM_AUTHOR,
  })),
  ...['Hayao', 'Shinkai', 'Paprika'].map((look) => ({
    ...v2,
    name: `animeganv2-${look.toLowerCase()}`,
    style: `${look.toLowerCase()}_v2`,
    title: `${look} (v2)`,
    aliases: [`animeganv2_${look.toLowerCase()}`],
    weights: onnx(`https://huggingface.co/vumichien/AnimeGANv2_${look}/resolve/main/AnimeGANv2_${look}.onnx`),
  })),
  {
    ...pytorch,
    name: 'face-paint-512-v2',
    style: 'face_paint',
    title: 'Face paint',
    aliases: ['face_paint_512_v2'],
    weights: onnx(
      'https://huggingface.co/akhaliq/AnimeGANv2-ONNX/resolve/main/face_paint_512_v2_0.onnx',
      '1381b17ed988e14a1f3cf8954d88073c0884ff4b70128ebe599f0d6021bca63e',
    ),
  },
  ...['face-paint-512-v1', 'celeba-distill'].map((name) => ({
    ...pytorch,
    name,
    style: name.replaceAll('-', '_'),
    title: name,
    aliases: [],
    weights: FROM_PYTORCH,
  })),
  ...['anime', '3d', 'handdrawn', 'sketch', 'artstyle', 'design', 'illustration'].map((look) => ({
    name: `dct-net-${look}`,
    style: `dct_${look}`,
    title: `DCT-Net ${look}`,
    licence: 'Apache-2.0',
    source: DCT,
    aliases: [],
    multiple: 16,
    minSide: 256,
    range: [0, 255] as const,
    weights: elsewhere(
      `is published as TensorFlow graphs only (${DCT}); convert both branches with tf2onnx, then: toonfleet models add HEAD --preset dct-net-head, models add BACKGROUND --preset dct-net-background, models compose --preset dct-net`,
    ),
  })),
];
