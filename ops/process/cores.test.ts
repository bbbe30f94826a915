import assert from 'node:assert/strict';
import test from 'node:test';
import { usableCores } from './cores.ts';

const cases: { name: string; affinity: number; files: Record<string, string>; cores: number }[] = [
  { name: 'without a cgroup the affinity decides', affinity: 4, files: {}, cores: 4 },
  {
    name: 'a v2 quota of two and a half cores leaves two',
    affinity: 8,
    files: { '/proc/self/cgroup': '0::/app\n', '/sys/fs/cgroup/app/cpu.max': '250000 100000\n' },
    cores: 2,
  },
  {
    name: 'the tightest v2 quota on the way up counts',
    affinity: 8,
    files: {
      '/proc/self/cgroup': '0::/slice/app\n',
      '/sys/fs/cgroup/slice/app/cpu.max': 'max 100000\n',
      '/sys/fs/cgroup/slice/cpu.max': '300000 100000\n',
    },
    cores: 3,
  },
  {
    name: 'a v1 quota counts',
    affinity: 8,
    files: {
      '/proc/self/cgroup': '4:cpu,cpuacct:/app\n',
      '/sys/fs/cgroup/cpu/app/cpu.cfs_quota_us': '100000',
      '/sys/fs/cgroup/cpu/app/cpu.cfs_period_us': '100000',
    },
    cores: 1,
  },
  {
    name: 'an unlimited v1 quota does not count',
    affinity: 2,
    files: {
      '/proc/self/cgroup': '4:cpu:/\n',
      '/sys/fs/cgroup/cpu/cpu.cfs_quota_us': '-1',
      '/sys/fs/cgroup/cpu/cpu.cfs_period_us': '100000',
    },
    cores: 2,
  },
  {
    name: 'less than one core still runs one worker',
    affinity: 2,
    files: { '/proc/self/cgroup': '0::/\n', '/sys/fs/cgroup/cpu.max': '50000 100000\n' },
    cores: 1,
  },
];

for (const { name, affinity, files, cores } of cases) {
  test(name, () =>
    assert.equal(
      usableCores(affinity, (path) => files[path]),
      cores,
    ),
  );
}
