import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { canonicalAddress, isNetwork, networkOf, networksOf } from './address.ts';

const spellings: [text: string, canonical: string | undefined][] = [
  ['1.2.3.4', '1.2.3.4'],
  ['::ffff:1.2.3.4', '1.2.3.4'],
  ['::ffff:102:304', '1.2.3.4'],
  ['::FFFF:0102:0304', '1.2.3.4'],
  ['0:0:0:0:0:ffff:1.2.3.4', '1.2.3.4'],
  ['2001:DB8:0:0::1', '2001:db8::1'],
  ['fe80::1%eth0', 'fe80::1'],
  ['::1', '::1'],
  ['', undefined],
  ['unknown', undefined],
  ['_hidden', undefined],
  ['1', undefined],
  ['1.2.3', undefined],
  ['01.2.3.4', undefined],
  ['0x7f.0.0.1', undefined],
  ['1.2.3.256', undefined],
  ['1.2.3.4.5', undefined],
  ['1.2.3.4:80', undefined],
  ['1::2::3', undefined],
  ['[::1]', undefined],
  ["1.2.3.4' OR 1=1", undefined],
];
for (const [text, canonical] of spellings)
  test(`"${text}" is ${canonical ?? 'no address'}`, () => assert.equal(canonicalAddress(text), canonical));

const around: [address: string, network: string][] = [
  ['1.2.3.4', '1.2.3.4/32'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:db8:1:2::', '2001:db8:1:2::/64'],
  ['unknown', 'unknown'],
];
for (const [address, network] of around)
  test(`${address} lies in ${network}`, () => assert.equal(networkOf(address, { v4: 32, v6: 64 }), network));

test('a prefix may end within a byte', () => {
  assert.equal(networkOf('2001:db8:1:ff7f::1', { v4: 32, v6: 57 }), '2001:db8:1:ff00::/57');
  assert.equal(networkOf('10.1.2.255', { v4: 25, v6: 64 }), '10.1.2.128/25');
});

test('all addresses of one network have it in common, and none of another one has', () => {
  const byte = fc.integer({ min: 0, max: 255 });
  const low = fc.array(fc.integer({ min: 0, max: 0xffff }), { minLength: 4, maxLength: 4 });
  const address = (network: number, host: readonly number[]) =>
    `2001:db8:7:${network.toString(16)}:${host.map((part) => part.toString(16)).join(':')}`;
  fc.assert(
    fc.property(byte, byte, low, low, (one, other, a, b) => {
      const at = (text: string) => networkOf(text, { v4: 32, v6: 64 });
      assert.equal(at(address(one, a)) === at(address(other, b)), one === other);
    }),
  );
});

const lists: [network: string, address: string, within: boolean][] = [
  ['10.0.0.0/8', '10.255.0.1', true],
  ['10.0.0.0/8', '11.0.0.1', false],
  ['10.0.0.7', '10.0.0.7', true],
  ['10.0.0.7', '10.0.0.8', false],
  ['10.0.0.7/8', '10.9.9.9', true],
  ['::ffff:10.0.0.0/104', '10.9.9.9', true],
  ['2001:db8::/32', '2001:db8:ffff::1', true],
  ['2001:db8::/32', '10.0.0.1', false],
  ['10.0.0.0/8', '::a00:1', false],
  ['10.0.0.0/8', 'unknown', false],
];
for (const [network, address, within] of lists)
  test(`${address} is ${within ? '' : 'not '}in ${network}`, () =>
    assert.equal(networksOf([network]).has(address), within));

test('what is no network is told, and neither is everybody one', () => {
  const refused = [
    '',
    '10.0.0.0/33',
    '10.0.0.0/',
    '10.0.0.0/8/8',
    '10/8',
    '0.0.0.0/0',
    '::/0',
    'localhost',
    '::/129',
    '10.0.0.0/-1',
  ];
  for (const text of refused) assert.equal(isNetwork(text), false, text);
  for (const text of ['10.0.0.0/8', '::1', '127.0.0.1', 'fd00::/8'])
    assert.equal(isNetwork(text), true, text);
});
