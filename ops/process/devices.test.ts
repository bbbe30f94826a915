import assert from 'node:assert/strict';
import test from 'node:test';
import type { ExecutionProvider } from '../../config/schema.ts';
import { automaticWorkers, devicesOf } from './devices.ts';

const folders: Record<string, string[]> = {
  '/dev': ['null', 'nvidia0', 'nvidia1', 'nvidiactl', 'nvidia-uvm', 'nvidia-modeset'],
  '/dev/dri': ['by-path', 'card0', 'renderD128'],
};
const list = (folder: string) => folders[folder] ?? [];

const cases: [providers: ExecutionProvider[], cores: number, workers: number][] = [
  [['cpu'], 8, 8],
  [['cuda', 'cpu'], 8, 2],
  [['tensorrt', 'cuda', 'cpu'], 8, 2],
  [['webgpu'], 8, 1],
  [['coreml'], 8, 1],
  [['cuda'], 1, 1],
  [['cpu', 'cuda'], 4, 4],
];
for (const [providers, cores, workers] of cases) {
  test(`${providers.join(', ')} on ${cores} cores: ${workers} workers`, () => {
    assert.equal(automaticWorkers(providers, cores, list), workers);
  });
}

test('without a device there is still one worker, which says what is missing', () => {
  assert.equal(
    devicesOf('cuda', () => []),
    0,
  );
  assert.equal(
    automaticWorkers(['cuda'], 8, () => []),
    1,
  );
});
