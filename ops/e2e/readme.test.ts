// The README's blocks do what they say.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { PACKAGE_ROOT } from '../process/package.ts';
import { site, startCluster } from './cluster.ts';
import { decode, photo } from './pictures.ts';

const README = readFileSync(join(PACKAGE_ROOT, 'README.md'), 'utf8');
const blocks = [...README.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, block]) => (block ?? '').trim());
const { scripts } = JSON.parse(readFileSync(join(PACKAGE_ROOT, 'package.json'), 'utf8')) as {
  scripts: Record<string, string>;
};

test('a newcomer is told two commands to run it, and one to test it', () => {
  assert.ok(blocks.includes('npm install && npm start'), blocks.join('\n---\n'));
  assert.ok(blocks.includes('npm install && npm test'));
});

test('every npm script that the README names exists', () => {
  const named = [...README.matchAll(/npm run ([\w:]+)/g)].map(([, name]) => name ?? '');
  for (const name of named) assert.ok(name in scripts, name);
});

test('its curl lines draw pictures', async (context) => {
  const curls = blocks.filter((block) => /^curl\b/.test(block));
  assert.ok(curls.length > 0);
  const at = await site(context, { TOONFLEET_WORKER__COUNT: '1' });
  const cluster = await startCluster(at, { npm: true });
  writeFileSync(join(at.cwd, 'photo.jpg'), await photo(1, 320, 240));
  for (const block of curls) {
    const here = block.replaceAll(/(http:\/\/)?localhost:8080/g, cluster.url);
    execFileSync('sh', ['-ec', here.replaceAll(/^curl /gm, 'curl -sS --fail-with-body ')], { cwd: at.cwd });
  }
  const drawn = await decode(readFileSync(join(at.cwd, 'anime.png')));
  assert.equal(drawn.width, 320);
});
