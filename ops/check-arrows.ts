// `npm run check` runs this: reads every source of the rooms and prints each import that runs against an arrow.

import { readdirSync, readFileSync } from 'node:fs';
import { join, sep } from 'node:path';
import { brokenArrows, type Source } from './arrows.ts';
import { PACKAGE_ROOT } from './process/package.ts';

const ROOMS = ['config', 'server', 'balancer', 'ops', 'loadtest', 'docs'];

const sources = ROOMS.flatMap((room): Source[] =>
  readdirSync(join(PACKAGE_ROOT, room), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => ({
      path: `${room}/${name.split(sep).join('/')}`,
      text: readFileSync(join(PACKAGE_ROOT, room, name), 'utf8'),
    })),
);
const faults = brokenArrows(sources);
for (const { path, line, sentence } of faults) process.stderr.write(`${path}:${line} ${sentence}\n`);
process.stdout.write(`arrows: ${sources.length} files, ${faults.length} faults\n`);
process.exitCode = faults.length > 0 ? 1 : 0;
