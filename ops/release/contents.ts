// Which files of a checkout with its production packages belong into a release for one platform. Pure.

/** What only those need who develop: sources that are compiled, tests, and the tools' own settings. */
const DEVELOPERS =
  /^(?:\.ci\/|\.git|biome\.json$|tsconfig[^/]*\.json$|ops\/test\.mjs$|dist\/ops\/e2e\/)|\.tsbuildinfo$|^(?!node_modules\/|dist\/).*\.ts$/;

/** What packages bring for debuggers and compilers; their licences stay. */
const DEBUGGERS = /^node_modules\/.*\.(?:map|d\.[cm]?ts)$|^node_modules\/\.package-lock\.json$/;

/** Where packages keep native libraries for several platforms: the system and the architecture of each file. */
const NATIVE = [
  /^node_modules\/onnxruntime-node\/bin\/napi-v\d+\/(?<system>[^/]+)\/(?<architecture>[^/]+)\//,
  /^node_modules\/(?:[^/]+\/)*@img\/sharp(?:-libvips)?-(?<system>linux(?:musl)?|darwin|win32)-(?<architecture>[^/]+)\//,
  /^node_modules\/(?:[^/]+\/)*prebuilds\/(?<system>[a-z0-9]+)-(?<architecture>[a-z0-9_]+)\//,
];

/**
 * Whether a file is part of the release.
 * @param path Relative to the package, with forward slashes.
 * @param platform SYSTEM-ARCHITECTURE in Node's words, such as linux-x64.
 */
export function isShipped(path: string, platform: string): boolean {
  if (DEVELOPERS.test(path) || DEBUGGERS.test(path)) return false;
  for (const pattern of NATIVE) {
    const found = pattern.exec(path)?.groups;
    // A musl library has its system's name with musl behind it, and is chosen when the packages are installed.
    if (found && `${found.system?.replace(/musl$/, '')}-${found.architecture}` !== platform) return false;
  }
  return true;
}
