import assert from 'node:assert/strict';
import type { IncomingHttpHeaders } from 'node:http';
import test from 'node:test';
import fc from 'fast-check';
import { networksOf } from '../../config/address.ts';
import { clientAddress, type ForwardedHeader } from './forwarded.ts';

const trusted = networksOf(['10.0.0.0/8', 'fd00::/8']);
const PROXY = '10.0.0.1';
const whose = (peer: string, headers: IncomingHttpHeaders, header: ForwardedHeader = 'x-forwarded-for') =>
  clientAddress(peer, headers, { trusted, header });

const cases: { name: string; peer?: string; xff: string; client: string }[] = [
  { name: 'the right end is what our proxy saw', xff: '6.6.6.6, 1.2.3.4', client: '1.2.3.4' },
  { name: 'trusted proxies in between are passed', xff: '6.6.6.6, 1.2.3.4, 10.0.0.9', client: '1.2.3.4' },
  {
    name: 'what stands left of an untrusted hop is hearsay',
    xff: '1.2.3.4, 5.6.7.8, 10.0.0.9',
    client: '5.6.7.8',
  },
  {
    name: 'an untrusted peer is the client, whatever it claims',
    peer: '9.9.9.9',
    xff: '1.2.3.4',
    client: '9.9.9.9',
  },
  { name: 'loopback is not trusted unasked', peer: '127.0.0.1', xff: '1.2.3.4', client: '127.0.0.1' },
  {
    name: 'with trusted proxies only, the first of them is the client',
    xff: '10.0.0.3, 10.0.0.2',
    client: '10.0.0.3',
  },
  { name: 'IPv4 within IPv6 is IPv4', xff: '::ffff:102:304', client: '1.2.3.4' },
  { name: 'a port is no part of an address', xff: '1.2.3.4:5678', client: '1.2.3.4' },
  { name: 'nor are brackets', xff: '[2001:db8::1]:80', client: '2001:db8::1' },
  { name: 'a proxy that says nothing of use speaks for itself', xff: 'unknown', client: PROXY },
  { name: 'nonsense ends the list', xff: '1.2.3.4, <script>', client: PROXY },
  { name: 'empty hops end it too', xff: '1.2.3.4,,', client: PROXY },
  { name: 'an empty list is none', xff: '', client: PROXY },
];
for (const { name, peer = PROXY, xff, client } of cases)
  test(name, () => assert.equal(whose(peer, { 'x-forwarded-for': xff }), client));

const elements: { name: string; forwarded: string; client: string }[] = [
  { name: 'the right end', forwarded: 'for=6.6.6.6, for=1.2.3.4;proto=https;by=10.0.0.1', client: '1.2.3.4' },
  { name: 'quoted IPv6 with a port', forwarded: 'For="[2001:db8::17]:4711"', client: '2001:db8::17' },
  { name: 'a comma in quotes', forwarded: 'for=6.6.6.6;x="a, for=7.7.7.7", for=1.2.3.4', client: '1.2.3.4' },
  { name: 'a hidden client', forwarded: 'for=1.2.3.4, for=_gazonk', client: PROXY },
  { name: 'an element without for', forwarded: 'for=1.2.3.4, proto=https', client: PROXY },
  { name: 'for twice', forwarded: 'for=1.2.3.4;for=5.6.7.8', client: PROXY },
  { name: 'a quote that a client left open', forwarded: 'for="6.6.6.6, for=1.2.3.4', client: '1.2.3.4' },
  { name: 'quotes around nothing', forwarded: 'for=1.2.3.4, for=""', client: PROXY },
  { name: 'an open quote', forwarded: 'for=1.2.3.4, for="5.6.7.8', client: PROXY },
];
for (const { name, forwarded, client } of elements)
  test(`Forwarded: ${name} gives ${client}`, () =>
    assert.equal(whose(PROXY, { forwarded }, 'forwarded'), client));

test('only the header that the proxies write is read', () => {
  const both = { 'x-forwarded-for': '1.2.3.4', forwarded: 'for=6.6.6.6' };
  assert.equal(whose(PROXY, both), '1.2.3.4');
  assert.equal(whose(PROXY, both, 'forwarded'), '6.6.6.6');
  assert.equal(whose(PROXY, { forwarded: 'for=6.6.6.6' }), PROXY);
});

test('nothing that a client writes changes who it is behind an honest proxy', () => {
  fc.assert(
    fc.property(fc.string(), (claim) => {
      // The proxy adds what it saw, as all of them do.
      assert.equal(whose(PROXY, { 'x-forwarded-for': `${claim}, 1.2.3.4` }), '1.2.3.4');
    }),
  );
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[",;= \\a-z]*$/)), (claim) => {
      for (const seen of ['1.2.3.4', '"1.2.3.4:80"'])
        assert.equal(whose(PROXY, { forwarded: `${claim}, for=${seen}` }, 'forwarded'), '1.2.3.4');
    }),
  );
});
