// Whether the model files are those of the manifest, and the same on every node. Pure: probe.ts makes the digests.

import { bad, type Finding, ok, warn } from './finding.ts';

/** One file that a manifest names. */
export interface ModelFile {
  readonly model: string;
  readonly path: string;
  /** By the manifest. */
  readonly sha256: string;
  /** Of the file as it is; undefined when it cannot be read. */
  readonly actual: string | undefined;
  readonly embedded: boolean;
  /** False for a variant, which each machine may have made for its own CPU. */
  readonly source: boolean;
}

export function judgeModelFiles(files: readonly ModelFile[]): Finding[] {
  const wrong = files.filter(({ sha256, actual }) => actual !== sha256);
  if (wrong.length === 0) return [ok('models', `${files.length} model files are what the manifest says`)];
  return wrong.map(({ model, path, actual, embedded, source }) =>
    bad(
      'models',
      `${model}: ${path} ${actual === undefined ? 'cannot be read' : `is not the file of the manifest (sha256 ${actual.slice(0, 12)}…)`}`,
      `${waysBack({ embedded, source })}; then toonfleet models verify and toonfleet reload`,
    ),
  );
}

function waysBack({ embedded, source }: Pick<ModelFile, 'embedded' | 'source'>): string {
  if (embedded) return 'install the package again';
  if (!source)
    return 'make it again: toonfleet models optimize; until then the model draws without it, and slower';
  return 'bring the same file again, or toonfleet models remove, and then pull, add or compose';
}

/** The digests of each node, by model. */
export function judgeSameModels(
  nodes: readonly { readonly node: string; readonly models: Readonly<Record<string, string>> }[],
): Finding[] {
  const names = [...new Set(nodes.flatMap(({ models }) => Object.keys(models)))].sort();
  const findings = names.flatMap((name): Finding[] => {
    const missing = nodes.filter(({ models }) => models[name] === undefined).map(({ node }) => node);
    if (missing.length > 0)
      return [
        warn(
          'models',
          `${name} is not on ${missing.join(', ')}`,
          'its style is drawn by the other nodes alone; add it there too, and reload',
        ),
      ];
    const digests = new Set(nodes.map(({ models }) => models[name]));
    if (digests.size === 1) return [];
    const who = nodes.map(({ node, models }) => `${node} ${models[name]?.slice(0, 12)}…`).join(', ');
    return [
      bad(
        'models',
        `${name} is not the same file everywhere: ${who}`,
        'one photo then gives different pictures: bring the same release and the same models to all, and reload',
      ),
    ];
  });
  return findings.length > 0 || nodes.length < 2
    ? findings
    : [ok('models', `the same ${names.length} on ${nodes.length} nodes`)];
}
