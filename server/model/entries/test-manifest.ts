// Manifests for tests: one entry that is right, and a folder with what a test makes of it.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A generator's entry; its file is not there. */
export const good = {
  name: 'cute',
  file: 'cute.onnx',
  sha256: 'a'.repeat(64),
  kind: 'generator',
  layout: 'NHWC',
  channels: 'RGB',
  input: { type: 'float32', range: [-1, 1] },
  output: { type: 'float32', range: [-1, 1] },
  size_multiple: 16,
  min_side: 256,
  styles: [{ id: 'cute', title: 'Cute' }],
  licence: 'non-commercial',
  golden: { seed: 1, means: 'AAAA' },
};

/** A folder of added models with this manifest, until the test ends. */
export function folder(t: { after(call: () => void): void }, text: string): string {
  const dir = mkdtempSync(join(tmpdir(), 'toonfleet-'));
  t.after(() => rmSync(dir, { recursive: true }));
  writeFileSync(join(dir, 'manifest.yaml'), text);
  return dir;
}
