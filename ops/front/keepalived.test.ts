import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { loadSettings } from '../../config/load.ts';
import { PACKAGE_ROOT } from '../process/package.ts';
import { fillTemplate } from '../process/template.ts';
import { keepalivedValues } from './keepalived.ts';
import { Unrenderable } from './nginx.ts';

const PAIR = {
  TOONFLEET_NODE__NAME: 'front-1',
  TOONFLEET_KEEPALIVED__INTERFACE: 'eth0',
  TOONFLEET_KEEPALIVED__ADDRESS: '10.0.0.100/24',
  TOONFLEET_KEEPALIVED__SOURCE: '10.0.0.10',
  TOONFLEET_KEEPALIVED__PEERS: '["10.0.0.20"]',
};

function rendered(env: Record<string, string>): string {
  const values = keepalivedValues(loadSettings({ cwd: '/srv', env }), 'a test');
  return fillTemplate(readFileSync(join(PACKAGE_ROOT, 'ops/keepalived/keepalived.conf'), 'utf8'), values);
}

const cases: [name: string, env: Record<string, string>, has: RegExp[], not: RegExp][] = [
  [
    'a pair keeps the address where it is',
    {},
    [
      /nopreempt/,
      /unicast_src_ip 10\.0\.0\.10\n {4}unicast_peer \{\n {8}10\.0\.0\.20\n/,
      /10\.0\.0\.100\/24 dev eth0/,
      /http:\/\/127\.0\.0\.1:8080\/live"/,
      /advert_int 0\.3\n/,
    ],
    /preempt_delay|notify|\{\{|undefined/,
  ],
  [
    'a delay gives it back to whom it belongs',
    { TOONFLEET_KEEPALIVED__PREEMPT_DELAY: '90s', TOONFLEET_KEEPALIVED__PRIORITY: '150' },
    [/preempt_delay 90\n/, /priority 150\n/],
    /nopreempt/,
  ],
  [
    'a cloud is told by a script, and IPv6 is asked by IPv6',
    { TOONFLEET_KEEPALIVED__NOTIFY: '/etc/toonfleet/move-address', TOONFLEET_BALANCER__HOST: '::' },
    [/notify "\/etc\/toonfleet\/move-address"/, /http:\/\/\[::1\]:8080\/live/],
    /127\.0\.0\.1/,
  ],
];
for (const [name, env, has, not] of cases)
  test(name, () => {
    const text = rendered({ ...PAIR, ...env });
    for (const pattern of has) assert.match(text, pattern);
    assert.doesNotMatch(text, not);
  });

test('what a pair needs is asked for, all at once', () => {
  assert.throws(
    () => rendered({}),
    (error) =>
      error instanceof Unrenderable &&
      ['interface', 'address', 'source', 'peers'].every((name) =>
        error.message.includes(`keepalived.${name}: `),
      ),
  );
});

test('a balancer that would not answer at the address, and a peer that is oneself, are told', () => {
  assert.throws(
    () => rendered({ ...PAIR, TOONFLEET_BALANCER__HOST: '10.0.0.10' }),
    /balancer\.host: found 10\.0\.0\.10/,
  );
  assert.throws(
    () => rendered({ ...PAIR, TOONFLEET_KEEPALIVED__PEERS: '["10.0.0.10"]' }),
    /this machine's own/,
  );
});
