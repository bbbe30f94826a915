// `toonfleet rollout` and `toonfleet rollback`: usage, flags and the tarball; what happens then stands in rollout.ts.

import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import type { LoadedSettings } from '../../config/load.ts';
import { verifyRelease } from '../release/verify.ts';
import { EXIT_USAGE, STANDARD, type Terminal } from '../terminal.ts';
import { RolloutFault, rollout, type Shipment, type Wish } from './rollout.ts';
import { rolloutStep } from './steps.ts';

const USAGE = `toonfleet rollout: a release goes to the nodes, one after the other

usage:
  toonfleet rollout prepare [--zone ZONE] [--only NODE,NODE]
  toonfleet rollout TARBALL [--dry-run] [--canary PERCENT] [--only NODE,NODE] [--allow-older]
  toonfleet rollback [--to ID] [--dry-run] [--only NODE,NODE]

examples:
  toonfleet rollout releases/toonfleet-0.2.0-15b271812a.tar.gz --canary 10
  toonfleet rollback

Run on the front, with its settings: "nodes" says where, and "rollout" how ssh gets there. Each node is drained, changed, asked
for a picture, put back to work and watched. The first node that is not good is put back to its release by itself, and the
others are not touched. The exit code is 0 only when every node has it.

  --dry-run        say which nodes would change, in which order
  --canary N       the first node gets N percent of the traffic while it is watched, before the others follow
  --only NODES     these alone
  --allow-older    also where a node has a newer release
  --zone ZONE      with prepare: the zone that a node without settings gets (default)
  --to ID          to this release instead of the one before

prepare makes folders, the service's user, the node key and the settings on fresh VMs; what is there stays.
rollback goes back where the newest release is, to what was there before it. Given twice it takes itself back.`;

const FLAGS = {
  help: { type: 'boolean', short: 'h' },
  'dry-run': { type: 'boolean' },
  only: { type: 'string' },
  canary: { type: 'string' },
  'allow-older': { type: 'boolean' },
  to: { type: 'string' },
  zone: { type: 'string' },
} as const;

/** What each of the three takes beside --help and --only. */
const OWN_FLAGS: Readonly<Record<Wish['kind'], readonly (keyof typeof FLAGS)[]>> = {
  rollout: ['dry-run', 'canary', 'allow-older'],
  rollback: ['dry-run', 'to'],
  prepare: ['zone'],
};

class UsageFault extends Error {}

/** Runs one of the two commands; the answer is the exit code. */
export async function rolloutCommand(
  command: 'rollout' | 'rollback',
  args: readonly string[],
  loadSettings: () => LoadedSettings,
  terminal: Terminal = STANDARD,
): Promise<number> {
  if (command === 'rollout' && args[0] === 'step') return rolloutStep(args.slice(1), loadSettings());
  try {
    const { values, positionals } = read(args);
    if (values.help) {
      terminal.say(USAGE);
      return 0;
    }
    const kind = command === 'rollout' && positionals[0] === 'prepare' ? 'prepare' : command;
    const allowed = new Set<string>(['only', ...OWN_FLAGS[kind]]);
    const odd = Object.keys(values).find((flag) => !allowed.has(flag));
    if (odd !== undefined) throw new UsageFault(`${kind} takes no --${odd}.`);
    if (positionals.length !== (command === 'rollout' ? 1 : 0))
      throw new UsageFault(command === 'rollout' ? 'rollout takes one TARBALL.' : 'rollback takes no words.');
    const common = {
      only: (values.only ?? '').split(',').filter((name) => name !== ''),
      dryRun: values['dry-run'] ?? false,
    };
    const settings = loadSettings();
    const wishOf = async (): Promise<Wish> => {
      switch (kind) {
        case 'prepare':
          return { kind, ...common, zone: values.zone ?? 'default' };
        case 'rollback':
          return { kind, ...common, to: values.to };
        case 'rollout':
          return {
            kind,
            ...common,
            allowOlder: values['allow-older'] ?? false,
            canary: canaryOf(values.canary),
            shipment: await shipmentOf(resolve(positionals[0] ?? '')),
          };
      }
    };
    return await rollout(await wishOf(), settings, terminal);
  } catch (error) {
    if (error instanceof UsageFault) {
      terminal.complain(`${error.message}\nSee: toonfleet ${command} --help`);
      return EXIT_USAGE;
    }
    if (!(error instanceof RolloutFault)) throw error;
    terminal.complain(error.message);
    return 1;
  }
}

function read(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: FLAGS, allowPositionals: true, strict: true });
  } catch (error) {
    throw new UsageFault((error as Error).message);
  }
}

function canaryOf(given: string | undefined): number | undefined {
  if (given === undefined) return undefined;
  const percent = Number(given.replace(/%$/, ''));
  if (Number.isInteger(percent) && percent >= 1 && percent <= 50) return percent;
  throw new UsageFault(`--canary: found "${given}"; allowed: a whole number from 1 to 50, percent.`);
}

/** The tarball, judged here before any node hears of it. */
async function shipmentOf(tarball: string): Promise<Shipment> {
  const { faults, release, sha256, unpackedBytes } = await verifyRelease(tarball);
  if (faults.length > 0 || release === undefined || sha256 === undefined)
    throw new RolloutFault(
      [
        `${tarball} is no release to ship:`,
        ...faults,
        'No node was touched. Pack it again: toonfleet release pack',
      ].join('\n  '),
    );
  return { tarball, sha256, release, neededBytes: statSync(tarball).size + unpackedBytes };
}
