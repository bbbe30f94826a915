// package.json and package-lock.json without what only developers need, so that `npm ci` judges and installs just what
// runs: a compiler's or a linter's package that cannot be had somewhere stops no release. Pure.

type Json = Readonly<Record<string, unknown>>;

/** A package.json without devDependencies, and without scripts that would want them. */
export function productionManifest(manifest: Json): Json {
  const { devDependencies: _packages, scripts, ...rest } = manifest;
  const { start } = (scripts ?? {}) as { start?: string };
  return start === undefined ? rest : { ...rest, scripts: { start } };
}

/** A lockfile (version 2 or 3) without packages that only developers need. */
export function productionLock(lock: Json): Json {
  const packages = Object.entries((lock.packages ?? {}) as Record<string, Json>)
    .filter(([, entry]) => entry.dev !== true)
    .map(([path, entry]) => [path, path === '' ? productionManifest(entry) : entry]);
  return { ...lock, packages: Object.fromEntries(packages) };
}
