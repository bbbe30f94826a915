import assert from 'node:assert/strict';
import test from 'node:test';
import { balancersToAsk } from './balancers.ts';

const asked = (balancers: string[], peers: string[], admin?: string) => {
  const answer = balancersToAsk({ autoscale: { balancers }, keepalived: { peers } }, admin);
  return answer.kind === 'all' ? answer.admins : answer.sentence;
};

test('all balancers are asked that the settings name, else the own one or the one that the command names', () => {
  assert.deepEqual(asked([], []), [undefined]);
  assert.deepEqual(asked(['10.0.0.10:8081', '10.0.0.20:8081'], ['10.0.0.20']), [
    'http://10.0.0.10:8081',
    'http://10.0.0.20:8081',
  ]);
  assert.deepEqual(asked(['10.0.0.10:8081'], [], 'http://10.0.0.30:8081'), ['http://10.0.0.30:8081']);
});

test('where keepalived knows of more balancers than would be asked, nobody is asked', () => {
  assert.match(String(asked([], ['10.0.0.20'])), /^There are 2 balancers by keepalived\.peers, and 1 would/);
  assert.match(String(asked(['10.0.0.10:8081'], ['10.0.0.20'])), /and 1 would be asked/);
  const three = ['10.0.0.20', '10.0.0.30'];
  assert.match(String(asked(['10.0.0.10:8081', '10.0.0.20:8081'], three)), /^There are 3 .* and 2 would/);
  assert.match(String(asked([], three, 'http://10.0.0.10:8081')), /and 1 would be asked/);
});
