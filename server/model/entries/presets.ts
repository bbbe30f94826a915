// Geometries of well-known models by name, so that a manifest says `preset: dct-net` instead of a dozen numbers. Pure.
// What an entry says itself wins over its preset.

/** What the presets say. */
export const PRESETS = {
  /** RetinaFace with MobileNet 0.25, exported with its softmax. */
  'retinaface-mobilenet': {
    layout: 'NCHW',
    channels: 'BGR',
    mean: [104, 117, 123],
    side: 640,
    size_multiple: 32,
    anchors: [
      { stride: 8, sizes: [16, 32] },
      { stride: 16, sizes: [64, 128] },
      { stride: 32, sizes: [256, 512] },
    ],
    variances: [0.1, 0.2],
  },
  /** DCT-Net's background branch: a picture as it is, 720 px on its shorter side, white to the next 16. */
  'dct-net-background': {
    layout: 'NHWC',
    channels: 'BGR',
    input: { type: 'float32', range: [0, 255] },
    output: { type: 'float32', range: [0, 255] },
    size_multiple: 16,
    min_side: 16,
    max_short_side: 720,
    padding: 'dct-net',
  },
  /** DCT-Net's head branch: a crop of 288 px, which is no style by itself. */
  'dct-net-head': {
    layout: 'NHWC',
    channels: 'BGR',
    input: { type: 'float32', range: [0, 255] },
    output: { type: 'float32', range: [0, 255] },
    fixed_size: [288, 288],
    styles: [],
  },
  /** How DCT-Net puts heads and background together; its mask is a file of its own weights. */
  'dct-net': { crop: 288, align: 'dct-net', beyond: 'white', tone: 'own', max_faces: 10 },
} as const;

/** The names of the presets. */
export type PresetName = keyof typeof PRESETS;

/** True for the name of a preset. */
export const isPreset = (name: unknown): name is PresetName =>
  typeof name === 'string' && Object.hasOwn(PRESETS, name);

/** An entry with what its preset says, where it says nothing itself; what has no preset, or an unknown one, stays. */
export function withPreset(entry: unknown): unknown {
  if (typeof entry !== 'object' || entry === null || !('preset' in entry)) return entry;
  const { preset, ...own } = entry;
  return isPreset(preset) ? { ...PRESETS[preset], ...own } : entry;
}
