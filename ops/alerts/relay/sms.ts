// Short messages for critical alerts, by Aliyun, by Tencent Cloud, or by any gateway that takes JSON.

import { randomUUID } from 'node:crypto';
import type { Settings } from '../../../config/schema.ts';
import { shortText } from './message.ts';
import type { Notice } from './notice.ts';
import { judgeAliyun, judgePlain, judgeTencent, type Outcome } from './outcome.ts';
import { post } from './post.ts';
import { aliyunSignature, canonicalQuery, tencentAuthorization } from './sign.ts';

type SmsSettings = Settings['alerts']['relay']['sms'];

const ALIYUN_URL = 'https://dysmsapi.aliyuncs.com/';
const TENCENT_URL = 'https://sms.tencentcloudapi.com/';

/** How many notices one short message may name. */
export const SMS_TOGETHER = 10;

/** At most so many in an hour, a third of them at once. */
export function smsRate({ per_hour }: Pick<SmsSettings, 'per_hour'>) {
  const burst = Math.max(1, Math.floor(per_hour / 3));
  return { burst, everyMs: 3_600_000 / Math.max(1, per_hour - burst) };
}

/** Sends by the provider of the settings. */
export function smsSender(sms: SmsSettings): (notices: readonly Notice[]) => Promise<Outcome> {
  return (notices) => {
    const text = shortText(notices, sms.characters);
    switch (sms.provider) {
      case 'aliyun':
        return byAliyun(sms, text);
      case 'tencent':
        return byTencent(sms, text);
      case 'http':
        return byGateway(sms, text);
      case 'none':
        return Promise.resolve({ kind: 'never', why: 'no provider is set' });
    }
  };
}

function byAliyun(sms: SmsSettings, text: string): Promise<Outcome> {
  const parameters: Record<string, string> = {
    AccessKeyId: sms.key_id,
    Action: 'SendSms',
    Format: 'JSON',
    PhoneNumbers: sms.phones.join(','),
    RegionId: 'cn-hangzhou',
    SignName: sms.sign,
    SignatureMethod: 'HMAC-SHA1',
    SignatureNonce: randomUUID(),
    SignatureVersion: '1.0',
    TemplateCode: sms.template,
    TemplateParam: JSON.stringify({ alert: text }),
    Timestamp: new Date().toISOString().replace(/\.\d+Z$/, 'Z'),
    Version: '2017-05-25',
  };
  const Signature = aliyunSignature('POST', parameters, sms.key_secret ?? '');
  return post(
    sms.url || ALIYUN_URL,
    { 'content-type': 'application/x-www-form-urlencoded' },
    canonicalQuery({ ...parameters, Signature }),
    judgeAliyun,
  );
}

function byTencent(sms: SmsSettings, text: string): Promise<Outcome> {
  const url = sms.url || TENCENT_URL;
  const contentType = 'application/json; charset=utf-8';
  const timestamp = Math.floor(Date.now() / 1000);
  const body = JSON.stringify({
    PhoneNumberSet: sms.phones,
    SmsSdkAppId: sms.app,
    SignName: sms.sign,
    TemplateId: sms.template,
    TemplateParamSet: [text],
  });
  const { host } = new URL(url);
  const call = { service: 'sms', host, contentType, body, timestamp };
  const headers = {
    authorization: tencentAuthorization(call, sms.key_id, sms.key_secret ?? ''),
    'content-type': contentType,
    'x-tc-action': 'SendSms',
    'x-tc-region': sms.region,
    'x-tc-timestamp': String(timestamp),
    'x-tc-version': '2021-01-11',
  };
  return post(url, headers, body, judgeTencent);
}

function byGateway(sms: SmsSettings, text: string): Promise<Outcome> {
  const key = sms.key_secret;
  const headers = {
    'content-type': 'application/json',
    ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
  };
  return post(sms.url, headers, JSON.stringify({ phones: sms.phones, text }), judgePlain);
}
