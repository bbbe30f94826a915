// Whatever a client writes into its head is judged in proportion to its length: no pattern runs back and forth over it. Up
// to six times what the port lets through, so that a quadratic one shows.

import assert from 'node:assert/strict';
import test from 'node:test';
import { networksOf } from '../../config/address.ts';
import { isRequestId } from '../../config/contract.ts';
import { formatOfAccept, normaliseStyle } from '../../config/image-request.ts';
import { excessiveGrowth } from '../../ops/process/test-growth.ts';
import { directivesOf } from '../cache/key.ts';
import { bodyKindOf } from '../passage/form.ts';
import { judgeFraming, judgeHead } from '../passage/head.ts';
import { createCors } from './cors.ts';
import { clientAddress, type ForwardedHeader } from './forwarded.ts';
import { createKeyring } from './keys.ts';

const BYTES = 50_000;
/** A beginning that a pattern takes, then much of what it may take in several ways, then what it cannot take. */
const texts = [
  '',
  'for=',
  'for="',
  'Bearer ',
  'multipart/form-data; boundary=',
  '/v1/images?',
  'x/',
  ';',
  ',',
].flatMap((start) =>
  [
    ' ',
    ';',
    ',',
    '"',
    '\\"',
    '\\',
    '=',
    '; ',
    ', ',
    '"a,',
    'a',
    '0',
    '.',
    '::',
    '%',
    '-',
    '/',
    '[',
    '@',
  ].flatMap((middle) =>
    ['', 'x y', '"', '!'].map(
      (end) => (bytes: number) =>
        start + middle.repeat((bytes - start.length - end.length) / middle.length) + end,
    ),
  ),
);

const trusted = networksOf(['10.0.0.0/8']);
const client = (header: ForwardedHeader) => (text: string) =>
  clientAddress('10.0.0.1', { [header]: text }, { trusted, header });
const keyring = createKeyring([{ name: 'a', sha256: '0'.repeat(64) }]);
const cors = createCors(['https://a.example', 'https://*.b.example']);
const head = (target: string, headers: Record<string, string>) => {
  const raw = {
    method: 'POST',
    target,
    httpVersion: '1.1',
    headers: { host: 'x', ...headers },
    rawHeaders: Object.entries({ host: 'x', ...headers }).flat(),
  };
  return judgeHead(raw, judgeFraming(raw), () => false);
};

const judges: Readonly<Record<string, (text: string) => unknown>> = {
  'X-Forwarded-For': client('x-forwarded-for'),
  Forwarded: client('forwarded'),
  Authorization: (text) => keyring.identify({ authorization: text }),
  'X-API-Key': (text) => keyring.identify({ 'x-api-key': text }),
  'X-Request-Id': isRequestId,
  Origin: (text) => cors.onAnswer({}, { origin: text }),
  'Content-Type': (text) => bodyKindOf('/v1/images', text),
  Accept: formatOfAccept,
  'Cache-Control': directivesOf,
  'a style': normaliseStyle,
  'the target': (text) => head(text, {}),
  'the path of a draw': (text) => head(`/v1/images${text}`, {}),
  'a result’s id': (text) => head(`/v1/results/${text}`, {}),
  Host: (text) => head('/v1/images', { host: text }),
  'Content-Length': (text) => head('/v1/images', { 'content-length': text }),
  'Transfer-Encoding': (text) => head('/v1/images', { 'transfer-encoding': text }),
  'X-Deadline-Ms': (text) => head('/v1/images', { 'x-deadline-ms': text }),
  'X-Priority': (text) => head('/v1/images', { 'x-priority': text }),
};
for (const [name, judge] of Object.entries(judges))
  test(`${name}: a text takes as much longer to judge as it is longer, whatever it is`, () => {
    for (const text of texts) {
      const prepare = (bytes: number) => {
        const whole = text(bytes);
        return () => judge(whole);
      };
      const excess = excessiveGrowth(prepare, BYTES);
      assert.equal(excess, undefined, JSON.stringify(text(60)));
    }
  });
