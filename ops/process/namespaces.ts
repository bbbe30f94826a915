// Network namespaces as small machines: each has an address of its own on a bridge that this machine is on as well. Makes
// and removes only what bears its own name. Needs root and iproute2.

import { execFileSync } from 'node:child_process';

/** One namespace with its address. */
export interface Namespace {
  readonly name: string;
  readonly address: string;
  /** Words in front of a command that has to run there. They leave the mounts alone, unlike `ip netns exec`. */
  readonly enter: readonly string[];
}

/** Some namespaces on one bridge. */
export interface Lan {
  readonly nodes: readonly Namespace[];
  /** Once nothing runs there any more. */
  remove(): void;
}

const ip = (...args: string[]) => execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });

/**
 * Makes so many namespaces. `number` (0-255) keeps two benches apart: it names the interfaces and picks the network
 * 10.213.number.0/24.
 * @throws {Error} that says why this machine lets none be made.
 */
export function makeLan(count: number, number: number): Lan {
  const bridge = `toonbr${number}`;
  const address = (last: number) => `10.213.${number}.${last}`;
  const made: (() => void)[] = [];
  const remove = () => {
    for (const undo of made.splice(0).reverse()) undo();
  };
  try {
    ip('link', 'add', bridge, 'type', 'bridge');
    made.push(() => ip('link', 'del', bridge));
    ip('addr', 'add', `${address(1)}/24`, 'dev', bridge);
    ip('link', 'set', bridge, 'up');
    const nodes = Array.from({ length: count }, (_, index): Namespace => {
      const name = `toonfleet-${number}-${index + 1}`;
      const [outside, inside] = [`toonv${number}-${index + 1}`, 'eth0'];
      ip('netns', 'add', name);
      made.push(() => ip('netns', 'del', name));
      ip('link', 'add', outside, 'type', 'veth', 'peer', 'name', inside, 'netns', name);
      // A namespace lives as long as the processes in it, and so would its cable.
      made.push(() => ip('link', 'del', outside));
      ip('link', 'set', outside, 'master', bridge);
      ip('link', 'set', outside, 'up');
      ip('-n', name, 'addr', 'add', `${address(11 + index)}/24`, 'dev', inside);
      ip('-n', name, 'link', 'set', inside, 'up');
      ip('-n', name, 'link', 'set', 'lo', 'up');
      return { name, address: address(11 + index), enter: ['nsenter', `--net=/run/netns/${name}`] };
    });
    // After Ctrl-C as well; what still runs inside keeps its namespace until it has ended, without its name.
    process.once('exit', remove);
    made.unshift(() => process.off('exit', remove));
    return { nodes, remove };
  } catch (error) {
    remove();
    throw error;
  }
}
