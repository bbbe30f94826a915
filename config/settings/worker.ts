// The section worker: how many there are on a VM, on which ports, and when one gives way to a new one. Pure.

import type { z } from 'zod';
import { formatSize } from '../units.ts';
import { fault } from './fault.ts';
import { autoWhole, duration, host, oneOf, port, room, size, whole } from './field.ts';
import { scale } from './scale.ts';

/** Below this each picture would have its memory from the system anew. */
const LEAST_RELEASED = 1024 * 1024;

/** The section worker. */
export const worker = room({
  host: host('127.0.0.1', 'The address of the worker ports; on a fleet, the private address of the VM.'),
  count: autoWhole(
    1,
    256,
    'one for each core that this process may use, or each device of models.execution_providers',
    'How many workers run on this VM.',
  ),
  shared_port: port(8000, 'The port that reaches any worker of this VM.'),
  port_first: whole(8100, 1, 65535, 'The first of the ports from which each worker takes one.'),
  port_last: whole(
    8199,
    1,
    65535,
    'The last of these ports; a reload needs twice as many as there are workers.',
  ),
  queue_length: whole(16, 0, 1000, 'How many direct requests (nginx, curl) may wait in one worker.'),
  drain_grace: duration(
    '5s',
    '0s',
    '1m',
    'How long a leaving worker keeps idle keep-alive connections of the shared port open.',
  ),
  provenance: oneOf(
    ['off', 'exif', 'xmp'],
    'off',
    'Whether an answer says what drew it (style, model and its SHA-256), and as what kind of metadata.',
  ),
  max_requests: whole(
    0,
    0,
    1_000_000_000,
    'After this many pictures a worker drains and is replaced by a new process, one worker of a VM at a time; 0 means never.',
  ),
  max_memory: size(
    '2GiB',
    '0B',
    '1000GiB',
    'A worker whose resident memory has grown to this is replaced in the same way; 0B means never.',
  ),
  release_from: size(
    '8MiB',
    '0B',
    '32MiB',
    'Free memory goes back to the system at once in pieces of at least this size (1MiB or more). 8MiB keeps a worker with a heavy model below 500 MB at 512 px; 0B leaves it to glibc, which keeps more and draws light models somewhat faster. Takes effect at the next start.',
  ),
  scale,
});

/** What no worker could run with: ports that cannot be shared out, memory that would come and go by the page. */
export function workerContradictions(settings: z.output<typeof worker>): string[] {
  const { release_from } = settings;
  if (release_from === 0 || release_from >= LEAST_RELEASED) return portContradictions(settings);
  const allowed = '0B, or at least 1MiB: smaller pieces come and go all the time';
  const found = fault('worker.release_from', formatSize(release_from), allowed, 'worker.release_from: 4MiB');
  return [found, ...portContradictions(settings)];
}

function portContradictions({ count, port_first, port_last }: z.output<typeof worker>): string[] {
  const tell = (allowed: string, example: number) => [
    fault('worker.port_last', String(port_last), allowed, `worker.port_last: ${example}`),
  ];
  if (port_last < port_first) return tell(`not below worker.port_first (${port_first})`, port_first + 99);
  if (count === 'auto' || port_last - port_first + 1 >= 2 * count) return [];
  const least = port_first + 2 * count - 1;
  return tell(
    `at least ${least}, since a reload holds ${count} old and ${count} new workers side by side`,
    least,
  );
}
