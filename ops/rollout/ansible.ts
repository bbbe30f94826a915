// Runs Ansible as the separate program that it is. The only file that knows where it lies, how it is called and what its
// output looks like; what the plays do stands in ansible/.

import { spawn } from 'node:child_process';
import { createWriteStream, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { createInterface } from 'node:readline';
import { PACKAGE_ROOT } from '../process/package.ts';

const PLAYS = join(PACKAGE_ROOT, 'ops/rollout/ansible');
/** The folder that ops/rollout/install-tools.sh fills, in the package or beside the releases. */
const TOOLS = '.tools/ansible/bin/ansible-playbook';

/** One node as the plays see it: how it is reached, and its own variables. */
export interface Host {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  readonly user: string;
  readonly vars: Readonly<Record<string, unknown>>;
}

/** One run of a play. */
export interface Play {
  readonly playbook: 'verb' | 'deploy' | 'rollback' | 'prepare';
  readonly hosts: readonly Host[];
  readonly vars: Readonly<Record<string, unknown>>;
}

/** How it ended. */
export interface Played {
  readonly code: number;
  /** What the play told of a node. */
  readonly results: ReadonlyMap<string, unknown>;
  /** Nodes that ssh did not reach, with ssh's own words. */
  readonly unreachable: ReadonlyMap<string, string>;
  /** The last lines that it printed, for failures that no node tells. */
  readonly tail: string;
}

/** ansible-playbook, wherever it lies; undefined when it is not installed. */
export function findAnsible(path: string | undefined, tools: readonly string[]): string | undefined {
  const own = [PACKAGE_ROOT, ...tools].map((folder) => join(folder, TOOLS));
  const system = (path ?? '').split(delimiter).map((folder) => join(folder, 'ansible-playbook'));
  return [...own, ...system].find((program) => existsSync(program));
}

/** Ansible with a folder for what it writes down. */
export class Ansible {
  readonly #program: string;
  readonly #folder: string;
  readonly #log: string;
  readonly #ssh: readonly string[];
  #running: number | undefined;
  #runs = 0;

  /**
   * @param folder Its own, short and empty: sockets of ssh lie there.
   * @param log Everything that Ansible prints is added to this file.
   * @param ssh What ssh is called with beside its usual words.
   */
  constructor(program: string, folder: string, log: string, ssh: readonly string[]) {
    this.#program = program;
    this.#folder = folder;
    this.#log = log;
    this.#ssh = ssh;
  }

  /** Runs a play to its end; `onTask` hears each task's name as it begins. */
  async play({ playbook, hosts, vars }: Play, onTask: (name: string) => void = () => {}): Promise<Played> {
    const run = join(this.#folder, String(++this.#runs));
    mkdirSync(run, { recursive: true, mode: 0o700 });
    writeFileSync(join(run, 'hosts.json'), JSON.stringify(inventoryOf(hosts, this.#ssh)));
    writeFileSync(join(run, 'vars.json'), JSON.stringify(vars));
    // A rollout that is killed takes Ansible with it: its lock counts as left behind then, and nobody may work on under it.
    const child = spawn(
      'setpriv',
      [
        ...['--pdeathsig', 'TERM', this.#program],
        ...['--inventory', join(run, 'hosts.json')],
        ...['--extra-vars', `@${join(run, 'vars.json')}`],
        ...['--forks', String(Math.min(50, Math.max(1, hosts.length)))],
        join(PLAYS, `${playbook}.yml`),
      ],
      {
        env: this.#environment(),
        // A group of its own: a Ctrl-C in the terminal reaches the command, which lets the node's turn end.
        detached: true,
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    );
    this.#running = child.pid;
    const log = createWriteStream(this.#log, { flags: 'a', mode: 0o640 });
    const lines: string[] = [];
    const unreachable = new Map<string, string>();
    const results = new Map<string, unknown>();
    for (const stream of [child.stdout, child.stderr])
      createInterface({ input: stream }).on('line', (line) => {
        log.write(`${line}\n`);
        lines.push(line);
        const task = /^TASK \[(.*?)\]/.exec(line)?.[1];
        if (task !== undefined) onTask(task);
        const lost = unreachableIn(line);
        if (lost) unreachable.set(lost.name, lost.sentence);
        const told = toldIn(line);
        if (told) results.set(told.name, told.result);
      });
    const code = await new Promise<number>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (status) => resolve(status ?? 1));
    });
    this.#running = undefined;
    log.end();
    rmSync(run, { recursive: true, force: true });
    return { code, results, unreachable, tail: lines.slice(-12).join('\n') };
  }

  /** Ends a run in the middle of what it does. */
  abort(): void {
    if (this.#running !== undefined) process.kill(-this.#running, 'SIGTERM');
  }

  #environment(): NodeJS.ProcessEnv {
    const home = join(this.#folder, 'home');
    return {
      ...process.env,
      ANSIBLE_CONFIG: join(PLAYS, 'ansible.cfg'),
      ANSIBLE_HOME: home,
      ANSIBLE_LOCAL_TEMP: join(home, 'tmp'),
      ANSIBLE_SSH_CONTROL_PATH_DIR: join(this.#folder, 'cp'),
      ANSIBLE_NOCOLOR: '1',
      // Ansible wants to know that it may print UTF-8.
      LC_ALL: 'C.UTF-8',
    };
  }
}

/** An inventory as Ansible reads it. */
export function inventoryOf(hosts: readonly Host[], ssh: readonly string[]): object {
  const entry = ({ address, port, user, vars }: Host) => ({
    ansible_host: address,
    ansible_port: port,
    ...(user === '' ? {} : { ansible_user: user }),
    ansible_ssh_common_args: ssh.join(' '),
    ...vars,
  });
  return { nodes: { hosts: Object.fromEntries(hosts.map((host) => [host.name, entry(host)])) } };
}

/** A line in which a play tells of a node: its name, and JSON in base64, which no printing can break. */
export function toldIn(line: string): { name: string; result: unknown } | undefined {
  const [, name, encoded] = /"msg": "TOONFLEET (\S+) ([A-Za-z0-9+/=]+)"/.exec(line) ?? [];
  if (name === undefined || encoded === undefined) return undefined;
  return { name, result: JSON.parse(Buffer.from(encoded, 'base64').toString('utf8')) };
}

/** A line of Ansible's that says that a node was not reached. */
export function unreachableIn(line: string): { name: string; sentence: string } | undefined {
  const [, name, json] =
    /^(?:fatal|skipping): \[([^\]\s]+)[^\]]*\]: UNREACHABLE! => (\{.*\})$/.exec(line) ?? [];
  if (name === undefined || json === undefined) return undefined;
  let sentence = 'ssh failed';
  try {
    const { msg } = JSON.parse(json) as { msg?: unknown };
    if (typeof msg === 'string')
      sentence = msg
        .replace(/^Task failed: /, '')
        .replace(/^Failed to connect to the host via ssh: */, '')
        .trim();
  } catch {
    // The line is cut; that it was not reached is what counts.
  }
  return { name, sentence: sentence.split('\n').at(-1) ?? sentence };
}

/** What a task that failed has to say: its last words on stderr, or its message. */
export function wordsOf(result: unknown): string {
  if (typeof result !== 'object' || result === null) return 'it did not say why';
  const { results, stderr, msg, exception } = result as Record<string, unknown>;
  const failed = Array.isArray(results)
    ? results.find(
        (each) => typeof each === 'object' && each !== null && (each as { failed?: unknown }).failed === true,
      )
    : undefined;
  if (failed !== undefined) return wordsOf(failed);
  const text = [stderr, msg, exception].find((each) => typeof each === 'string' && each.trim() !== '');
  return typeof text === 'string' ? text.trim().split('\n').slice(-6).join('\n') : 'it did not say why';
}
