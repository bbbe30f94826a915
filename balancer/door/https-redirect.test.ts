import assert from 'node:assert/strict';
import test from 'node:test';
import { routeOf } from '../passage/head.ts';
import { httpsLocation, isSentOn } from './https-redirect.ts';

const locations: [host: string | undefined, port: number, location: string | undefined][] = [
  ['pictures.example', 443, 'https://pictures.example/a?b'],
  ['pictures.example:8080', 443, 'https://pictures.example/a?b'],
  ['pictures.example:80', 8443, 'https://pictures.example:8443/a?b'],
  ['[2001:db8::1]', 443, 'https://[2001:db8::1]/a?b'],
  ['[2001:db8::1]:8080', 8443, 'https://[2001:db8::1]:8443/a?b'],
  ['', 443, undefined],
  [undefined, 443, undefined],
];
for (const [host, port, location] of locations)
  test(`a client that asked ${host ?? 'without a Host'} for port ${port} is sent to ${location ?? 'nowhere'}`, () => {
    assert.equal(httpsLocation(host, '/a?b', port), location);
  });

test('checks and challenges stay on the plain port, everything else is sent on', () => {
  const stays = ['/live', '/ready', '/health', '/v2/health/ready', '/.well-known/acme-challenge/t'];
  for (const path of stays) assert.equal(isSentOn(routeOf(path)), false, path);
  for (const path of ['/', '/v1/images', '/v1/results/x', '/transform', '/v1/styles', '/docs'])
    assert.equal(isSentOn(routeOf(path)), true, path);
});
