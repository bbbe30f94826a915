import assert from 'node:assert/strict';
import test from 'node:test';
import { cpuHierarchy } from './cpu-share.ts';

test('the CPU controller of version 1 is found by its option, wherever it is mounted', () => {
  const mounts = [
    'tmpfs /sys/fs/cgroup tmpfs rw,mode=755 0 0',
    'cgroup /sys/fs/cgroup/cpuset cgroup rw,cpuset 0 0',
    'cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0',
    'cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0',
  ];
  assert.equal(cpuHierarchy(mounts.join('\n')), '/sys/fs/cgroup/cpu,cpuacct');
  assert.equal(cpuHierarchy(mounts.slice(0, 2).join('\n')), undefined);
  assert.equal(cpuHierarchy(''), undefined);
});
