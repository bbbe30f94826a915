import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import {
  faultsOfMembers,
  type Member,
  releaseIdOf,
  releaseIdSchema,
  UNPACKED_LIMIT_BYTES,
} from './release.ts';

const file = (path: string, bytes = 1): Member => ({ path, kind: 'file', bytes });
const GOOD: readonly Member[] = [
  { path: 'toonfleet-1', kind: 'folder', bytes: 0 },
  file('toonfleet-1/RELEASE'),
  file('toonfleet-1/package.json'),
  file('toonfleet-1/ops/toonfleet.mjs'),
  file('toonfleet-1/dist/ops/cli.js'),
  { path: 'toonfleet-1/node_modules/.bin/pm2', kind: 'link', bytes: 0, target: '../pm2/bin/pm2' },
];

test('a release in its one folder has no faults', () => {
  assert.deepEqual(faultsOfMembers(GOOD), []);
});

const bad: readonly [what: string, members: readonly Member[], fault: RegExp][] = [
  ['nothing at all', [], /begins with ""/],
  ['another top folder', [file('package/RELEASE'), ...GOOD], /begins with "package"/],
  ['a second top folder', [...GOOD, file('etc/passwd')], /etc\/passwd lies outside/],
  ['a way up', [...GOOD, file('toonfleet-1/../../etc/passwd')], /lies outside/],
  ['a device', [...GOOD, { path: 'toonfleet-1/null', kind: 'other', bytes: 0 }], /neither a file/],
  [
    'a link to the machine',
    [...GOOD, { path: 'toonfleet-1/a', kind: 'link', bytes: 0, target: '/etc/passwd' }],
    /leads to \/etc\/passwd/,
  ],
  [
    'a link out of the folder',
    [...GOOD, { path: 'toonfleet-1/a/b', kind: 'link', bytes: 0, target: '../../x' }],
    /leads to/,
  ],
  [
    'a link that comes back in by another way',
    [...GOOD, { path: 'toonfleet-1/a', kind: 'link', bytes: 0, target: '../toonfleet-1/b' }],
    /leads to/,
  ],
  ['no RELEASE file', GOOD.filter(({ path }) => !path.endsWith('RELEASE')), /RELEASE is missing/],
  ['no program', GOOD.filter(({ path }) => !path.endsWith('cli.js')), /cli\.js is missing/],
  ['too much', [...GOOD, file('toonfleet-1/big', UNPACKED_LIMIT_BYTES)], /may have 650 MB/],
];

for (const [what, members, fault] of bad)
  test(`a tarball with ${what} is no release`, () => {
    assert.match(faultsOfMembers(members).join('\n'), fault);
  });

test('the name made from a version and a commit is always a name', () => {
  const version = fc.tuple(fc.nat(99), fc.nat(99), fc.nat(99)).map((parts) => parts.join('.'));
  const commit = fc.stringMatching(/^[0-9a-f]{40}$/);
  fc.assert(
    fc.property(version, commit, (...parts) => {
      assert.ok(releaseIdSchema.safeParse(releaseIdOf(...parts)).success);
    }),
  );
  for (const name of ['', '-x', '../x', 'a b', 'a/b', 'x'.repeat(65)])
    assert.ok(!releaseIdSchema.safeParse(name).success, name);
});
