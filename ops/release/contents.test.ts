import assert from 'node:assert/strict';
import test from 'node:test';
import { isShipped } from './contents.ts';

const cases: readonly [path: string, shipped: boolean][] = [
  ['package.json', true],
  ['LICENSE', true],
  ['ops/toonfleet.mjs', true],
  ['ops/ecosystem.config.cjs', true],
  ['dist/ops/cli.js', true],
  ['dist/server/main.js', true],
  ['server/models/manifest.yaml', true],
  ['server/models/embedded/meadow.onnx', true],
  ['balancer/page/index.html', true],
  ['systemd/toonfleet.service', true],
  ['docs/operate.md', true],
  ['loadtest/k6/smoke.js', true],
  // What is compiled, and what only judges the sources.
  ['ops/cli.ts', false],
  ['server/main.ts', false],
  ['ops/agent/agent.test.ts', false],
  ['tsconfig.build.json', false],
  ['biome.json', false],
  ['ops/test.mjs', false],
  ['.ci/run', false],
  ['.gitignore', false],
  ['dist/.tsbuildinfo', false],
  ['dist/ops/e2e/cluster.js', false],
  // Packages: no platform but this one, nothing for debuggers; licences and programs stay.
  ['node_modules/onnxruntime-node/bin/napi-v6/linux/x64/libonnxruntime.so.1', true],
  ['node_modules/onnxruntime-node/bin/napi-v6/linux/arm64/libonnxruntime.so.1', false],
  ['node_modules/onnxruntime-node/bin/napi-v6/win32/x64/onnxruntime.dll', false],
  ['node_modules/onnxruntime-node/bin/napi-v6/darwin/arm64/libonnxruntime.1.dylib', false],
  ['node_modules/onnxruntime-node/dist/binding.js', true],
  ['node_modules/@img/sharp-linux-x64/lib/sharp-linux-x64-0.35.5.node', true],
  ['node_modules/@img/sharp-libvips-linuxmusl-x64/lib/libvips-cpp.so.8', true],
  ['node_modules/@img/sharp-libvips-linux-arm64/lib/libvips-cpp.so.8', false],
  ['node_modules/@img/sharp-win32-x64/lib/sharp.node', false],
  ['node_modules/@img/colour/index.cjs', true],
  ['node_modules/some/prebuilds/linux-x64/addon.node', true],
  ['node_modules/some/prebuilds/darwin-arm64/addon.node', false],
  ['node_modules/koa/lib/application.js', true],
  ['node_modules/koa/LICENSE', true],
  ['node_modules/zod/index.d.cts', false],
  ['node_modules/swagger-ui-dist/swagger-ui.js.map', false],
  ['node_modules/.package-lock.json', false],
  ['node_modules/.bin/pm2', true],
];

for (const [path, shipped] of cases)
  test(`a release for linux-x64 ${shipped ? 'has' : 'does not have'} ${path}`, () => {
    assert.equal(isShipped(path, 'linux-x64'), shipped);
  });

test('a release for arm64 has the libraries of arm64 and not those of x64', () => {
  const of = (architecture: string) =>
    isShipped(`node_modules/onnxruntime-node/bin/napi-v6/linux/${architecture}/a.so`, 'linux-arm64');
  assert.deepEqual([of('arm64'), of('x64')], [true, false]);
});
