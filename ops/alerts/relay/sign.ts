// The signatures that the SMS services of Aliyun (RPC, HMAC-SHA1) and Tencent Cloud (TC3-HMAC-SHA256) ask for. Pure: time and
// nonce are arguments. Tested with the examples that both publish.

import { createHash, createHmac } from 'node:crypto';

/** RFC 3986: what `encodeURIComponent` leaves as it is, Aliyun wants encoded too. */
const encode = (text: string) =>
  encodeURIComponent(text).replace(/[!'()*]/g, (mark) => `%${mark.charCodeAt(0).toString(16).toUpperCase()}`);

/** The parameters as one query, sorted by name. */
export function canonicalQuery(parameters: Readonly<Record<string, string>>): string {
  return Object.entries(parameters)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `${encode(name)}=${encode(value)}`)
    .join('&');
}

/** Aliyun's `Signature` of a call with these parameters, base64. */
export function aliyunSignature(
  method: 'GET' | 'POST',
  parameters: Readonly<Record<string, string>>,
  secret: string,
): string {
  const text = `${method}&${encode('/')}&${encode(canonicalQuery(parameters))}`;
  return createHmac('sha1', `${secret}&`).update(text).digest('base64');
}

/** A call to be signed for Tencent Cloud. */
export interface TencentCall {
  readonly service: string;
  readonly host: string;
  readonly contentType: string;
  readonly body: string;
  /** S since 1970. */
  readonly timestamp: number;
}

/** Tencent's `Authorization` of a POST to `/`. */
export function tencentAuthorization(call: TencentCall, keyId: string, secret: string): string {
  const { service, host, contentType, body, timestamp } = call;
  const date = new Date(timestamp * 1000).toISOString().slice(0, 10);
  const signed = 'content-type;host';
  const request = `POST\n/\n\ncontent-type:${contentType}\nhost:${host}\n\n${signed}\n${sha256(body)}`;
  const scope = `${date}/${service}/tc3_request`;
  const text = `TC3-HMAC-SHA256\n${timestamp}\n${scope}\n${sha256(request)}`;
  const key = [date, service, 'tc3_request'].reduce<string | Buffer>(
    (previous, part) => createHmac('sha256', previous).update(part).digest(),
    `TC3${secret}`,
  );
  const signature = createHmac('sha256', key).update(text).digest('hex');
  return `TC3-HMAC-SHA256 Credential=${keyId}/${scope}, SignedHeaders=${signed}, Signature=${signature}`;
}

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');
