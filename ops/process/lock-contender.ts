// A process that tries for locks when it is told to, for the test in which several do so at one moment.

import { takeProcessLock } from './process-lock.ts';

process.on('message', ({ file, at }: { file: string; at: number }) => {
  // Spun, not waited: a timer would have one come after the other.
  while (Date.now() < at);
  process.send?.(takeProcessLock(file, 'a try').kind);
});
process.send?.('here');
