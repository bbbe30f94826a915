import assert from 'node:assert/strict';
import test from 'node:test';
import { createCors } from './cors.ts';

const list = ['https://app.example.com', 'https://*.shop.example', 'capacitor://localhost'];
const cases: { origin: string | undefined; allowed: boolean }[] = [
  { origin: 'https://app.example.com', allowed: true },
  { origin: 'capacitor://localhost', allowed: true },
  { origin: 'https://a.shop.example', allowed: true },
  { origin: 'https://a.b.shop.example', allowed: true },
  { origin: 'https://shop.example', allowed: false },
  { origin: 'https://.shop.example', allowed: false },
  { origin: 'https://evilshop.example', allowed: false },
  { origin: 'https://evil.com/.shop.example', allowed: false },
  { origin: 'https://evil.com#.shop.example', allowed: false },
  { origin: 'http://a.shop.example', allowed: false },
  { origin: 'http://app.example.com', allowed: false },
  { origin: 'https://app.example.com:8443', allowed: false },
  { origin: 'https://app.example.com.evil.com', allowed: false },
  { origin: 'null', allowed: false },
  { origin: '*', allowed: false },
  { origin: '', allowed: false },
  { origin: undefined, allowed: false },
];
for (const { origin, allowed } of cases)
  test(`a page at ${origin ?? 'no origin'} is ${allowed ? '' : 'not '}let in by the list`, () => {
    const headers = createCors(list).onAnswer({}, origin === undefined ? {} : { origin });
    assert.equal(headers['access-control-allow-origin'], allowed ? origin : undefined);
    assert.equal(headers.vary, 'Origin');
  });

test('what an answer varies by is kept', () => {
  const cors = createCors(list);
  assert.equal(cors.onAnswer({ vary: 'accept-encoding' }, {}).vary, 'accept-encoding, Origin');
  assert.equal(cors.onAnswer({ vary: 'origin' }, {}).vary, 'origin');
});

test('with everybody allowed the answer is the same for all, so that caches may keep it', () => {
  const headers = createCors(['*']).onAnswer({}, { origin: 'https://any.example' });
  assert.equal(headers['access-control-allow-origin'], '*');
  assert.equal(headers.vary, undefined);
});

test('switched off, nothing is said', () => {
  const cors = createCors([]);
  const preflight = { origin: 'https://app.example.com', 'access-control-request-method': 'POST' };
  assert.deepEqual(cors.onAnswer({ vary: 'accept' }, preflight), { vary: 'accept' });
  assert.deepEqual(cors.onPreflight(['POST'], preflight), {});
});

test('credentials are never allowed', () => {
  for (const origins of [list, ['*']])
    assert.equal(
      createCors(origins).onAnswer({}, { origin: 'https://app.example.com' })[
        'access-control-allow-credentials'
      ],
      undefined,
    );
});
