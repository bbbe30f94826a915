// `toonfleet release pack|verify`: makes the tarball that a rollout ships, and judges one.

import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { PACKAGE_ROOT } from '../process/package.ts';
import { EXIT_USAGE, STANDARD } from '../terminal.ts';
import { PackFault, packRelease } from './pack.ts';
import { megabytes } from './release.ts';
import { TarballFault } from './tarball.ts';
import { verifyRelease } from './verify.ts';

const USAGE = `toonfleet release: what a rollout ships

usage:
  toonfleet release pack [--out DIR] [--id ID] [--from CHECKOUT] [--json]
  toonfleet release verify TARBALL [--json]

examples:
  toonfleet release pack --out releases
  toonfleet release verify releases/toonfleet-0.1.0-15b271812a.tar.gz

pack takes the last commit, compiles it, adds the packages that it runs with for this machine's platform and no other,
and writes toonfleet-ID.tar.gz with a .sha256 beside it. It is unpacked anywhere and started with nothing but Node.
  --out DIR        where it goes                                  (out/releases)
  --id ID          its name                                       (VERSION-COMMIT)
  --from CHECKOUT  the checkout, with its development packages    (this one)
With SOURCE_DATE_EPOCH (seconds) as the time of the build, equal commits give equal bytes.

verify compares the digest, looks for members that would leave the release's folder, and reads its RELEASE file; it exits
with 1 when anything speaks against it.`;

const FLAGS = {
  out: { type: 'string' },
  id: { type: 'string' },
  from: { type: 'string' },
  json: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const;

const { say, complain } = STANDARD;

/** Runs `toonfleet release ARGS`; the answer is the exit code. */
export async function releaseCommand(args: readonly string[]): Promise<number> {
  let parsed: ReturnType<typeof parseArgs<{ options: typeof FLAGS; allowPositionals: true }>>;
  try {
    parsed = parseArgs({ args: [...args], options: FLAGS, allowPositionals: true, strict: true });
  } catch (error) {
    return usage((error as Error).message);
  }
  const { values, positionals } = parsed;
  const [verb, ...words] = positionals;
  if (values.help || verb === 'help') {
    say(USAGE);
    return 0;
  }
  try {
    switch (verb) {
      case 'pack':
        if (words.length > 0) return usage(`release pack: "${words[0]}" is one word too many`);
        return await pack(values);
      case 'verify': {
        const [tarball, ...more] = words;
        if (tarball === undefined || more.length > 0) return usage('release verify takes one TARBALL');
        return await verify(resolve(tarball), values.json ?? false);
      }
      default:
        return usage(`release: found "${verb ?? ''}"; allowed: pack, verify`);
    }
  } catch (error) {
    if (!(error instanceof PackFault || error instanceof TarballFault)) throw error;
    complain(error.message);
    return 1;
  }
}

async function pack(values: { out?: string; id?: string; from?: string; json?: boolean }): Promise<number> {
  const epoch = process.env.SOURCE_DATE_EPOCH;
  if (epoch !== undefined && !/^\d{1,11}$/.test(epoch))
    return usage(`SOURCE_DATE_EPOCH: found "${epoch}"; allowed: seconds since 1970`);
  const packed = await packRelease({
    from: resolve(values.from ?? PACKAGE_ROOT),
    out: resolve(values.out ?? 'out/releases'),
    id: values.id,
    builtAt: epoch === undefined ? new Date() : new Date(Number(epoch) * 1000),
    say: values.json ? () => {} : say,
  });
  if (values.json) say(JSON.stringify(packed));
  else
    say(
      `${packed.tarball}\n${packed.sha256}\n${megabytes(packed.tarballBytes)}, unpacked ${megabytes(packed.unpackedBytes)}, for ${packed.release.platform}`,
    );
  return 0;
}

async function verify(tarball: string, json: boolean): Promise<number> {
  const { faults, release, sha256, unpackedBytes } = await verifyRelease(tarball);
  if (json) say(JSON.stringify({ faults, release, sha256, unpackedBytes }));
  else if (release && faults.length === 0)
    say(
      `release ${release.id} is whole: ${release.platform}, commit ${release.commit}, built ${release.built_at} with Node ${release.node}, unpacked ${megabytes(unpackedBytes)}`,
    );
  else complain([`${tarball} is no release to ship:`, ...faults].join('\n  '));
  return faults.length === 0 ? 0 : 1;
}

function usage(sentence: string): number {
  complain(`${sentence}\nSee: toonfleet release --help`);
  return EXIT_USAGE;
}
