import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import type { Finding, Verdict } from './finding.ts';
import {
  judgeAllocator,
  judgeFolder,
  judgeLimits,
  judgeLogs,
  judgeMemory,
  judgeNode,
  judgeSwap,
  judgeTimeZone,
  judgeVolume,
  type Memory,
  type Volume,
} from './machine.ts';

const GB = 1e9;
const volume = (fields: Partial<Volume> = {}): Volume => ({
  folders: ['/data'],
  freeBytes: 50 * GB,
  totalBytes: 100 * GB,
  freeInodes: 5e6,
  totalInodes: 6e6,
  ...fields,
});
const memory = (fields: Partial<Memory> = {}): Memory => ({
  totalBytes: 4 * GB,
  availableBytes: 2 * GB,
  swapTotalBytes: 0,
  swapUsedBytes: 0,
  ...fields,
});
const now = Date.UTC(2026, 10, 21);
const wanted = { MALLOC_ARENA_MAX: '2' };
const allocator = { glibc: '2.36', environment: undefined, hugePages: 'always [madvise] never' };

const cases: { name: string; finding: Finding; verdict: Verdict; says?: RegExp }[] = [
  { name: 'half a disk free', finding: judgeVolume(volume(), 4 * GB), verdict: 'ok' },
  { name: 'a tenth of a disk', finding: judgeVolume(volume({ freeBytes: 9 * GB }), GB), verdict: 'warn' },
  {
    name: 'a small disk with room left',
    finding: judgeVolume(volume({ freeBytes: 0.15 * GB, totalBytes: 0.2 * GB }), 0),
    verdict: 'bad',
  },
  {
    name: 'a disk as good as full',
    finding: judgeVolume(volume({ freeBytes: 1.9 * GB }), 0),
    verdict: 'bad',
  },
  {
    name: 'a disk that budgets outgrow',
    finding: judgeVolume(volume(), 60 * GB),
    verdict: 'warn',
    says: /may take 60\.0 GB/,
  },
  { name: 'no inodes', finding: judgeVolume(volume({ freeInodes: 900 }), 0), verdict: 'bad', says: /inodes/ },
  {
    name: 'few inodes',
    finding: judgeVolume(volume({ freeInodes: 200_000 }), 0),
    verdict: 'warn',
    says: /inodes/,
  },
  {
    name: 'a file system without inodes',
    finding: judgeVolume(volume({ freeInodes: 0, totalInodes: 0 }), 0),
    verdict: 'ok',
  },

  { name: 'memory for all', finding: judgeMemory(memory(), 2, 0.5 * GB), verdict: 'ok' },
  {
    name: 'memory without room for uploads',
    finding: judgeMemory(memory({ totalBytes: 1.6 * GB }), 2, 0.5 * GB),
    verdict: 'warn',
    says: /buffer/,
  },
  { name: 'too many workers', finding: judgeMemory(memory(), 8, 0), verdict: 'bad', says: /need 4\.4 GB/ },
  { name: 'a front alone', finding: judgeMemory(memory({ totalBytes: GB }), 0, 0.5 * GB), verdict: 'ok' },
  { name: 'no swap', finding: judgeSwap(memory()), verdict: 'ok' },
  {
    name: 'swap that is used for want of memory',
    finding: judgeSwap(memory({ swapTotalBytes: GB, swapUsedBytes: 0.5 * GB, availableBytes: 0.3 * GB })),
    verdict: 'warn',
  },
  {
    name: 'old pages in swap, and memory left',
    finding: judgeSwap(memory({ swapTotalBytes: GB, swapUsedBytes: 0.5 * GB })),
    verdict: 'ok',
  },

  { name: 'Node before ours', finding: judgeNode('20.18.3', now), verdict: 'bad' },
  { name: 'a much older Node', finding: judgeNode('18.20.0', now), verdict: 'bad' },
  {
    name: 'a Node that gets no repairs',
    finding: judgeNode('20.20.2', now),
    verdict: 'warn',
    says: /2026-04-30/,
  },
  {
    name: 'the same Node while it got them',
    finding: judgeNode('20.20.2', Date.UTC(2026, 3, 1)),
    verdict: 'ok',
  },
  { name: 'an odd Node', finding: judgeNode('25.1.0', now), verdict: 'warn' },
  { name: 'Node LTS', finding: judgeNode('24.3.0', now), verdict: 'ok' },

  {
    name: 'a zone that is none',
    finding: judgeTimeZone('Asia/Shanghia', 'UTC', false),
    verdict: 'bad',
    says: /Shanghia/,
  },
  { name: 'a zone', finding: judgeTimeZone('Asia/Shanghai', 'Asia/Shanghai', true), verdict: 'ok' },
  { name: 'no word on the zone', finding: judgeTimeZone(undefined, 'UTC', false), verdict: 'ok' },

  { name: 'glibc while nothing runs', finding: judgeAllocator(allocator, wanted), verdict: 'ok' },
  {
    name: 'a worker as it should be',
    finding: judgeAllocator({ ...allocator, environment: wanted }, wanted),
    verdict: 'ok',
  },
  {
    name: 'a worker started by hand',
    finding: judgeAllocator({ ...allocator, environment: {} }, wanted),
    verdict: 'warn',
    says: /MALLOC_ARENA_MAX=2/,
  },
  { name: 'musl', finding: judgeAllocator({ ...allocator, glibc: undefined }, wanted), verdict: 'warn' },
  {
    name: 'huge pages off',
    finding: judgeAllocator({ ...allocator, hugePages: 'always madvise [never]' }, wanted),
    verdict: 'warn',
  },

  {
    name: 'logs that nobody turns',
    finding: judgeLogs({ turnAtBytes: 0, logrotate: false, largestBytes: 0 }),
    verdict: 'bad',
    says: /nobody turns them/,
  },
  {
    name: 'logs that logrotate turns',
    finding: judgeLogs({ turnAtBytes: 0, logrotate: true, largestBytes: 1e6 }),
    verdict: 'ok',
  },
  {
    name: 'logs that the agent turns',
    finding: judgeLogs({ turnAtBytes: 64e6, logrotate: false, largestBytes: 60e6 }),
    verdict: 'ok',
  },
  {
    name: 'a log that has outgrown its rotation',
    finding: judgeLogs({ turnAtBytes: 64e6, logrotate: true, largestBytes: 3e9 }),
    verdict: 'warn',
    says: /3\.0 GB/,
  },

  { name: 'a folder', finding: judgeFolder({ folder: '/d', use: 'x', fault: undefined }), verdict: 'ok' },
  {
    name: 'a folder of somebody else',
    finding: judgeFolder({ folder: '/d', use: 'x', fault: 'EACCES' }),
    verdict: 'bad',
    says: /EACCES/,
  },
];
for (const { name, finding, verdict, says } of cases)
  test(`${name}: ${verdict}`, () => {
    assert.equal(finding.verdict, verdict, finding.found);
    assert.equal(
      finding.advice !== undefined,
      verdict !== 'ok',
      'advice where something is wrong, and only there',
    );
    if (says) assert.match(finding.found + (finding.advice ?? ''), says);
  });

test('a front needs more open files than a node, and both are told how to get them', () => {
  const of = (files: number, processes: number, front: boolean) =>
    judgeLimits({ who: 'the balancer', files, processes }, front, 4).map(({ verdict }) => verdict);
  assert.deepEqual(of(1_024, 4_096, true), ['warn', 'ok']);
  assert.deepEqual(of(1_024, 4_096, false), ['ok', 'ok']);
  assert.deepEqual(of(65_536, 300, true), ['ok', 'warn']);
  assert.deepEqual(of(65_536, Number.POSITIVE_INFINITY, true), ['ok', 'ok']);
});

test('less room on a disk is never a better verdict', () => {
  const rank = ({ verdict }: Finding) => ['ok', 'warn', 'bad'].indexOf(verdict);
  fc.assert(
    fc.property(
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.integer({ min: 1e8, max: 1e12 }),
      (a, b, total) => {
        const at = (part: number) =>
          rank(judgeVolume(volume({ freeBytes: total * part, totalBytes: total }), 4 * GB));
        assert.ok(at(Math.min(a, b)) >= at(Math.max(a, b)));
      },
    ),
  );
});
