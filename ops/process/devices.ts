// How many devices a machine has for an execution provider of ONNX Runtime, by what its kernel shows in /dev.

import { readdirSync } from 'node:fs';
import type { ExecutionProvider } from '../../config/schema.ts';
import { usableCores } from './cores.ts';

/** Names in a folder; none where there is no such folder. An argument in tests. */
export type ListNames = (folder: string) => readonly string[];

const listNames: ListNames = (folder) => {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
};

/** Devices that a provider can compute on; undefined for the CPU, whose devices are cores. */
export function devicesOf(provider: ExecutionProvider, list: ListNames = listNames): number | undefined {
  switch (provider) {
    case 'cpu':
      return undefined;
    case 'cuda':
    case 'tensorrt':
      return list('/dev').filter((name) => /^nvidia\d+$/.test(name)).length;
    case 'webgpu':
      return list('/dev/dri').filter((name) => /^renderD\d+$/.test(name)).length;
    case 'coreml':
    case 'dml':
      return 1;
  }
}

/**
 * How many workers `worker.count: auto` is: one for each core, or one for each device of the first provider, since pictures
 * on one device only wait for each other; never more than cores, and at least 1.
 */
export function automaticWorkers(
  providers: readonly ExecutionProvider[],
  cores: number,
  list: ListNames = listNames,
): number {
  const devices = devicesOf(providers[0] ?? 'cpu', list) ?? cores;
  return Math.max(1, Math.min(cores, devices));
}

/** What `worker.count: auto` is on this machine. */
export function usableSlots(settings: {
  readonly models: { readonly execution_providers: readonly ExecutionProvider[] };
}): number {
  return automaticWorkers(settings.models.execution_providers, usableCores());
}
