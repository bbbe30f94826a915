import assert from 'node:assert/strict';
import test from 'node:test';
import { judgeAliyun, judgePlain, judgeTencent, judgeWecom, type Outcome } from './outcome.ts';

type Row = [name: string, outcome: Outcome, kind: Outcome['kind'], afterMs?: number];
const wecom = (errcode: number, status = 200) => judgeWecom(status, JSON.stringify({ errcode, errmsg: 'x' }));
const tencent = (response: object, status = 200) =>
  judgeTencent(status, JSON.stringify({ Response: response }));

const rows: Row[] = [
  ['WeCom: 0', wecom(0), 'sent'],
  ['WeCom: 200 and too fast', wecom(45009), 'later', 60_000],
  ['WeCom: 200 and busy', wecom(-1), 'later'],
  ['WeCom: 200 and a wrong key', wecom(93000), 'never'],
  ['WeCom: 200 and too long', wecom(40058), 'never'],
  ['WeCom: 200 and something else', judgeWecom(200, '<html>'), 'later'],
  ['WeCom: 502', judgeWecom(502, ''), 'later'],
  ['Aliyun: OK', judgeAliyun(200, '{"Code":"OK"}'), 'sent'],
  ['Aliyun: 400 and a wrong signature', judgeAliyun(400, '{"Code":"SignatureDoesNotMatch"}'), 'never'],
  ['Aliyun: 400 and throttled', judgeAliyun(400, '{"Code":"Throttling.User"}'), 'later', 60_000],
  [
    'Aliyun: 200 and too many to this number',
    judgeAliyun(200, '{"Code":"isv.BUSINESS_LIMIT_CONTROL"}'),
    'later',
    60_000,
  ],
  ['Aliyun: 503 without words', judgeAliyun(503, ''), 'later'],
  ['Tencent: all are Ok', tencent({ SendStatusSet: [{ Code: 'Ok' }, { Code: 'Ok' }] }), 'sent'],
  [
    'Tencent: 200 and one number failed',
    tencent({ SendStatusSet: [{ Code: 'Ok' }, { Code: 'FailedOperation.X' }] }),
    'never',
  ],
  ['Tencent: 200 and an error', tencent({ Error: { Code: 'AuthFailure.SignatureFailure' } }), 'never'],
  ['Tencent: 200 and too many', tencent({ Error: { Code: 'RequestLimitExceeded' } }), 'later', 60_000],
  ['Tencent: 200 and nothing', tencent({}), 'later'],
  ['a gateway: 204', judgePlain(204), 'sent'],
  ['a gateway: 401', judgePlain(401), 'never'],
  ['a gateway: 429', judgePlain(429), 'later', 60_000],
  ['a gateway: 500', judgePlain(500), 'later'],
];
for (const [name, outcome, kind, afterMs] of rows)
  test(`${name} means ${kind}`, () => {
    assert.equal(outcome.kind, kind);
    assert.equal(outcome.kind === 'later' ? outcome.afterMs : undefined, afterMs);
  });
