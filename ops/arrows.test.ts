import assert from 'node:assert/strict';
import test from 'node:test';
import { brokenArrows, isPure, roomOf, type Source } from './arrows.ts';

const PURE: Source = {
  path: 'balancer/schedule/queue.ts',
  text: '// The queue. Pure.\n\nexport const a = 1;\n',
};
const CONFIG: Source = { path: 'config/contract.ts', text: '// The wire. Pure.\n' };

/** Put together, so that this file itself has no such import. */
const lazily = (path: string) => `const { a } = await ${'import'}('${path}');\n`;

const cases: { name: string; source: Source; faults: [line: number, about: RegExp][] }[] = [
  {
    name: 'a room imports from config and ops/process',
    source: {
      path: 'server/main.ts',
      text: "// A.\nimport { a } from '../config/contract.ts';\nimport { b } from '../ops/process/log.ts';\n",
    },
    faults: [],
  },
  {
    name: 'config imports from nobody',
    source: { path: 'config/load.ts', text: "// A.\n\nimport { b } from '../ops/process/log.ts';\n" },
    faults: [[3, /config ← process/]],
  },
  {
    name: 'the worker does not know the balancer, over several lines neither',
    source: {
      path: 'server/main.ts',
      text: "// A.\nimport {\n  a,\n  b,\n} from '../balancer/passage/forward.ts';\n",
    },
    faults: [[5, /server ← balancer/]],
  },
  {
    name: 'a type is an arrow too',
    source: { path: 'balancer/main.ts', text: "import type { A } from '../server/slot.ts';\n" },
    faults: [[1, /balancer ← server/]],
  },
  {
    name: 'so is what is passed on',
    source: { path: 'balancer/main.ts', text: "export { a } from '../server/slot.ts';\n" },
    faults: [[1, /balancer ← server/]],
  },
  {
    name: 'anybody may import a Pure module',
    source: { path: 'loadtest/run.ts', text: "import { a } from '../balancer/schedule/queue.ts';\n" },
    faults: [],
  },
  {
    name: 'the agent reaches workers over HTTP only',
    source: { path: 'ops/agent/agent.ts', text: "import { a } from '../../server/slot.ts';\n" },
    faults: [[1, /agent ← server/]],
  },
  {
    name: 'the command line loads rooms lazily',
    source: { path: 'ops/cli.ts', text: lazily('../server/model/commands/command.ts') },
    faults: [],
  },
  {
    name: 'but not at once',
    source: { path: 'ops/cli.ts', text: "import { a } from '../server/model/commands/command.ts';\n" },
    faults: [[1, /ops ← server/]],
  },
  {
    name: 'and nobody else does',
    source: { path: 'ops/start.ts', text: lazily('../server/model/commands/command.ts') },
    faults: [[1, /ops ← server/]],
  },
  {
    name: 'PM2 is a separate program',
    source: { path: 'ops/pm2.ts', text: "import pm2 from 'pm2';\n" },
    faults: [[1, /AGPL/]],
  },
  {
    name: 'a Pure module opens no files and asks no clock',
    source: {
      path: 'balancer/schedule/pick.ts',
      text: "// Picks. Pure.\nimport { readFileSync } from 'node:fs';\n// Date.now() in a comment\nexport const now = () => Date.now();\nconst x = 'process.env';\n",
    },
    faults: [
      [2, /node:fs/],
      [4, /Date\.now/],
    ],
  },
  {
    name: 'nor does it import somebody who does, but it may know the types',
    source: {
      path: 'balancer/schedule/pick.ts',
      text: "// Picks. Pure.\nimport { a } from './pool.ts';\nimport type { B } from './pool.ts';\nimport { c } from './queue.ts';\n",
    },
    faults: [[2, /balancer\/schedule\/pool\.ts, which is not/]],
  },
];
for (const { name, source, faults } of cases) {
  test(name, () => {
    const found = brokenArrows([PURE, CONFIG, source]);
    assert.deepEqual(
      found.map(({ line }) => line),
      faults.map(([line]) => line),
    );
    for (const [index, [, about]] of faults.entries()) assert.match(found[index]?.sentence ?? '', about);
  });
}

test('only the first comment makes a module Pure', () => {
  assert.equal(isPure('#!/usr/bin/env node\n// A.\n// B. Pure: c.\n\nx'), true);
  assert.equal(isPure('// A.\n\n// Pure.\n'), false);
});

test('rooms are told by their folders', () => {
  assert.deepEqual(
    [
      'ops/process/log.ts',
      'ops/agent/main.ts',
      'ops/start.ts',
      'ops/e2e/a.test.ts',
      'server/model/x.ts',
      'vitest.ts',
    ].map(roomOf),
    ['process', 'agent', 'ops', 'e2e', 'server', undefined],
  );
});
