// The embedded styles: for each its names and its recipe, a few of the steps of steps.ts with its own colours.

import { Graph, type Planes } from './graph.ts';
import { encodeModel } from './onnx-file.ts';
import { cel, expose, flatten, grade, ink, type Palette, relight } from './steps.ts';

/** One embedded style. */
export type Look = {
  /** The style's name in requests, and its file's. */
  readonly id: string;
  readonly title: string;
  readonly description: string;
  /** From the planes of a photo (red, green, blue, 0 to 1) to those of the picture. */
  readonly paint: (photo: Planes) => Planes;
};

/** Every style, in the order they are listed to people. */
export const looks: readonly Look[] = [
  {
    id: 'meadow',
    title: 'Meadow',
    description: 'A bright summer day: warm light, fresh full colours, soft cool shadows.',
    paint: painted({
      exposure: 0.91,
      palette: {
        shadow: [0.94, 1.0, 1.06],
        highlight: [1.04, 1.02, 0.965],
        ground: [0.03, 0.03, 0.06],
        vivid: 0.9,
        glow: [0.26, 0.24, 0.18],
      },
    }),
  },
  {
    id: 'sky',
    title: 'Sky',
    description: 'Cool and airy: clear whites, pastel colours, light blue shadows.',
    paint: painted({
      exposure: 0.8,
      palette: {
        shadow: [0.7, 0.94, 1.16],
        highlight: [0.94, 1.02, 1.1],
        ground: [0.03, 0.06, 0.12],
        vivid: 0.4,
        glow: [0.2, 0.28, 0.34],
      },
    }),
  },
  {
    id: 'dusk',
    title: 'Dusk',
    description: 'The hour after sunset: violet shadows and rose-coloured light.',
    paint: painted({
      exposure: 1.12,
      palette: {
        shadow: [0.8, 0.6, 1.3],
        highlight: [1.1, 0.92, 0.9],
        ground: [0.08, 0.02, 0.16],
        vivid: 0.6,
        glow: [0.36, 0.2, 0.2],
      },
    }),
  },
  {
    id: 'ink',
    title: 'Ink',
    description: 'A manga page: black lines and a few clean greys on white paper.',
    paint: drawn,
  },
];

/** The finished ONNX file of one look; the same bytes every time. */
export function encodeLook(look: Look): Uint8Array {
  const graph = new Graph();
  return encodeModel(
    graph.model(look.paint(graph.picture), look.id, `${look.title}. ${look.description}`, {
      producer: 'toonfleet',
      style: look.id,
      title: look.title,
    }),
  );
}

/** A coloured cel: flat colours under stepped light, with lines in a dark of the colour they cross. */
function painted({ exposure, palette }: { exposure: number; palette: Palette }): Look['paint'] {
  return (photo) => {
    const { flat, outline } = flatten(photo);
    // Soft steps, and not the whole of them: harder ones put contours on cheeks.
    const light = cel(expose(flat, exposure), { tones: 6, sharpness: 4, share: 0.7 });
    return grade(relight(flat, light), light, palette).times(ink(outline, 0.9));
  };
}

/** A page of black, white and two greys. */
function drawn(photo: Planes): Planes {
  const { flat, outline } = flatten(photo);
  // Skin in plain light becomes paper and black hair becomes black: the range between is stretched over the page.
  const light = expose(flat, 0.95).minus(0.22).times(1.5).clip(0, 1);
  const tones = cel(light, { tones: 4, sharpness: 7, share: 0.9 });
  return tones.times(ink(outline, 1)).times([1, 1, 1]);
}
