// What rewritten graphs and measured choices hold for: the kind of CPU and the version of ONNX Runtime. Loads neither.

import { createRequire } from 'node:module';
import { cpus } from 'node:os';

/** The CPU as the system names it. */
export const cpuModel = (): string => cpus()[0]?.model ?? process.arch;

/** The version of ONNX Runtime's package. */
export function runtimeVersion(): string {
  const require = createRequire(import.meta.url);
  return (require('onnxruntime-node/package.json') as { version: string }).version;
}
