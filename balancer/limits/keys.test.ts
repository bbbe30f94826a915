import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import test from 'node:test';
import { createKeyring } from './keys.ts';

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');
const ring = createKeyring([
  { name: 'shop', sha256: sha256('tf_shop-key') },
  { name: 'app', sha256: sha256('tf_app-key') },
]);

const cases: { name: string; headers: Record<string, string>; is: string }[] = [
  { name: 'a bearer', headers: { authorization: 'Bearer tf_shop-key' }, is: 'shop' },
  { name: 'a bearer in small letters', headers: { authorization: 'bearer  tf_app-key ' }, is: 'app' },
  { name: 'X-API-Key', headers: { 'x-api-key': 'tf_app-key' }, is: 'app' },
  {
    name: 'the same key twice',
    headers: { authorization: 'Bearer tf_app-key', 'x-api-key': 'tf_app-key' },
    is: 'app',
  },
  {
    name: 'two keys',
    headers: { authorization: 'Bearer tf_app-key', 'x-api-key': 'tf_shop-key' },
    is: 'wrong',
  },
  { name: 'no key', headers: {}, is: 'none' },
  { name: 'another scheme', headers: { authorization: 'Basic dGZfc2hvcC1rZXk=' }, is: 'none' },
  { name: 'a wrong key', headers: { 'x-api-key': 'tf_shop-keY' }, is: 'wrong' },
  { name: 'half a key', headers: { 'x-api-key': 'tf_shop' }, is: 'wrong' },
  { name: 'the hash of a key', headers: { 'x-api-key': sha256('tf_shop-key') }, is: 'wrong' },
  { name: 'an empty key', headers: { 'x-api-key': '' }, is: 'wrong' },
  { name: 'an empty bearer', headers: { authorization: 'Bearer' }, is: 'wrong' },
];
for (const { name, headers, is } of cases)
  test(`${name} is ${is === 'none' || is === 'wrong' ? `taken as ${is}` : `the key of ${is}`}`, () => {
    const identity = ring.identify(headers);
    assert.equal(identity.kind === 'key' ? identity.key.name : identity.kind, is);
  });
