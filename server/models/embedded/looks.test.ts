import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import test from 'node:test';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { encodeLook, looks } from './looks.ts';

type Picture = { readonly width: number; readonly height: number; readonly data: Uint8Array };

const sessions = new Map<string, Promise<InferenceSession>>();

async function paint(style: string, { width, height, data }: Picture): Promise<Picture> {
  const file = new URL(`${style}.onnx`, import.meta.url);
  const opened =
    sessions.get(style) ??
    readFile(file).then((bytes) => InferenceSession.create(bytes, { intraOpNumThreads: 1 }));
  sessions.set(style, opened);
  const { toon } = await (await opened).run({ image: new Tensor('uint8', data, [1, height, width, 3]) });
  assert.deepEqual([toon?.type, toon?.dims], ['uint8', [1, height, width, 3]]);
  return { width, height, data: toon?.data as Uint8Array };
}

function draw(width: number, height: number, pixel: (x: number, y: number) => readonly number[]): Picture {
  const pixels = Array.from({ length: width * height }, (_, at) => pixel(at % width, Math.floor(at / width)));
  return { width, height, data: Uint8Array.from(pixels.flat()) };
}

const grey = (level: number) => [level, level, level];

/** Mulberry32: the same noise on every run. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function channel(picture: Picture, index: 0 | 1 | 2): Uint8Array {
  return picture.data.filter((_, at) => at % 3 === index);
}

function lumaAt({ width, data }: Picture, x: number, y: number): number {
  const at = 3 * (y * width + x);
  return 0.299 * (data[at] ?? 0) + 0.587 * (data[at + 1] ?? 0) + 0.114 * (data[at + 2] ?? 0);
}

const range = (values: Iterable<number>) => {
  const sorted = [...values].sort((a, b) => a - b);
  return { low: sorted[0] ?? 0, high: sorted.at(-1) ?? 0, median: sorted[sorted.length >> 1] ?? 0 };
};

test('the committed files are what the script makes, and small', async () => {
  const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
  for (const look of looks) {
    const committed = await readFile(new URL(`${look.id}.onnx`, import.meta.url));
    assert.equal(sha256(committed), sha256(encodeLook(look)), `${look.id}: run npm run make:styles`);
    assert.ok(committed.length < 300_000, `${look.id} has ${committed.length} bytes`);
  }
});

/** What a style makes of middle grey: whether red, green and blue may come out in this order. */
const tints: Readonly<Record<string, (red: number, green: number, blue: number) => boolean>> = {
  meadow: (red, green, blue) => red >= blue && green >= blue && red - blue < 24,
  sky: (red, green, blue) => blue > green && green > red && blue - red < 56,
  dusk: (red, green, blue) => red > green && blue > green && red - green < 56,
  ink: (red, green, blue) => red === green && green === blue,
};

for (const { id } of looks) {
  test(`${id} keeps the size of any picture`, async () => {
    const random = seeded(7);
    for (const [width, height] of [
      [1, 1],
      [16, 16],
      [17, 23],
      [64, 64],
      [333, 257],
    ] as const) {
      const { data } = await paint(
        id,
        draw(width, height, () => grey(Math.floor(256 * random()))),
      );
      assert.equal(data.length, 3 * width * height);
    }
  });

  test(`${id} leaves plain grey plain up to the border, in its own tint`, async () => {
    for (const level of [0, 40, 128, 220, 255]) {
      const toon = await paint(
        id,
        draw(75, 50, () => grey(level)),
      );
      const [red, green, blue] = ([0, 1, 2] as const).map((index) => range(channel(toon, index)));
      assert.ok(red && green && blue);
      for (const { low, high } of [red, green, blue])
        assert.ok(high - low <= 1, `${level} became ${low} to ${high}`);
      if (level === 128) {
        const seen = [red.median, green.median, blue.median] as const;
        assert.ok(tints[id]?.(...seen), `middle grey became ${seen}`);
        assert.ok(green.median > 90 && green.median < 215, `middle grey became ${seen}`);
      }
    }
  });

  test(`${id} draws stripes alike in the middle and at the border they run into`, async () => {
    const toon = await paint(
      id,
      draw(96, 61, (x) => [60 + 2 * x, x % 24 < 12 ? 90 : 180, 128]),
    );
    const row = (y: number) => toon.data.subarray(3 * toon.width * y, 3 * toon.width * (y + 1));
    for (const y of [0, 1, 5, toon.height - 2, toon.height - 1]) {
      const middle = row(30);
      const furthest = range(row(y).map((value, at) => Math.abs(value - (middle[at] ?? 0)))).high;
      assert.ok(furthest <= 2, `row ${y} is ${furthest} levels away from the middle one`);
    }
  });

  test(`${id} draws one thin dark line along an edge, on its dark side`, async () => {
    const edge = 48;
    const toon = await paint(
      id,
      draw(96, 96, (x) => grey(x < edge ? 110 : 235)),
    );
    const tone = lumaAt(toon, 20, 48);
    const lined = Array.from({ length: toon.width }, (_, x) => x).filter(
      (x) => lumaAt(toon, x, 48) < tone - 25,
    );
    assert.ok(lined.length >= 1 && lined.length <= 3, `the line covers columns ${lined}`);
    assert.ok(
      lined.every((x) => x < edge && x >= edge - 5),
      `the line covers columns ${lined}`,
    );
    assert.ok(lumaAt(toon, 75, 48) > tone + 30);
  });

  test(`${id} does not turn speckle into ink`, async () => {
    const random = seeded(11);
    // The sum of twelve is nearly normal: a standard deviation of 8 levels, as a phone's sensor has indoors.
    const normal = () => Array.from({ length: 12 }, random).reduce((sum, each) => sum + each, -6);
    const toon = await paint(
      id,
      draw(128, 128, () => grey(Math.round(128 + 8 * normal()))),
    );
    const { low, high, median } = range(channel(toon, 1));
    assert.ok(median - low < 20 && high - median < 20, `grey with noise became ${low} to ${high}`);
  });

  test(`${id} keeps an evening sky free of steps`, async () => {
    const toon = await paint(
      id,
      draw(256, 192, (_, y) => [30 + y / 4, 60 + y / 3, 110 + y / 3]),
    );
    const column = Array.from({ length: toon.height }, (_, y) => lumaAt(toon, 128, y));
    const rises = range(column.slice(12).map((value, at) => value - (column[at] ?? 0)));
    assert.ok(
      rises.high < 3 * rises.low,
      `over twelve rows it rises by ${rises.low.toFixed(1)} to ${rises.high.toFixed(1)}`,
    );
  });
}
