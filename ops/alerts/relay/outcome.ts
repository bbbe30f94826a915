// How an attempt to pass a notice on ended, read from what the other side answered. Pure.

/** Sent; to be tried again, perhaps only after a while; or not worth another try. */
export type Outcome =
  | { readonly kind: 'sent' }
  | { readonly kind: 'later'; readonly why: string; readonly afterMs?: number }
  | { readonly kind: 'never'; readonly why: string };

const MINUTE_MS = 60_000;

/** What every HTTP service means by its status; undefined for one that speaks in its body. */
export function judgeStatus(status: number): Outcome | undefined {
  if (status === 429) return { kind: 'later', why: 'answered 429', afterMs: MINUTE_MS };
  if (status >= 500 || status === 408) return { kind: 'later', why: `answered ${status}` };
  return undefined;
}

function fieldsOf(body: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

/** WeCom says 200 to everything; what it means stands in errcode. */
export function judgeWecom(status: number, body: string): Outcome {
  const early = judgeStatus(status);
  if (early) return early;
  const { errcode, errmsg } = fieldsOf(body);
  const why = `errcode ${String(errcode)}: ${String(errmsg).slice(0, 200)}`;
  switch (errcode) {
    case 0:
      return { kind: 'sent' };
    // More than 20 messages in a minute.
    case 45009:
    case 45033:
    case 130101:
      return { kind: 'later', why, afterMs: MINUTE_MS };
    // "System busy".
    case -1:
      return { kind: 'later', why };
    case undefined:
      return { kind: 'later', why: `answered ${status} without an errcode` };
    default:
      // A wrong key (93000), a message that it does not take (40058): the next try would end the same.
      return { kind: 'never', why };
  }
}

const BUSY_ALIYUN = /^(Throttling|ServiceUnavailable|InternalError|isp\.|isv\.BUSINESS_LIMIT_CONTROL)/;

/** Aliyun says "OK" in Code, whatever the status. */
export function judgeAliyun(status: number, body: string): Outcome {
  const { Code, Message } = fieldsOf(body);
  if (Code === 'OK') return { kind: 'sent' };
  if (typeof Code !== 'string')
    return judgeStatus(status) ?? { kind: 'later', why: `answered ${status} without a Code` };
  const why = `${Code}: ${String(Message).slice(0, 200)}`;
  return BUSY_ALIYUN.test(Code) ? { kind: 'later', why, afterMs: MINUTE_MS } : { kind: 'never', why };
}

const BUSY_TENCENT = /^(InternalError|RequestLimitExceeded|LimitExceeded|ResourceUnavailable)/;

interface TencentAnswer {
  readonly Error?: { readonly Code?: string; readonly Message?: string };
  readonly SendStatusSet?: readonly { readonly Code?: string; readonly Message?: string }[];
}

/** Tencent says 200 too: an Error for the call, or a Code for each number. */
export function judgeTencent(status: number, body: string): Outcome {
  const early = judgeStatus(status);
  if (early) return early;
  const { Error: fault, SendStatusSet = [] } = (fieldsOf(body).Response ?? {}) as TencentAnswer;
  const failed = fault ?? SendStatusSet.find(({ Code }) => Code !== 'Ok');
  if (failed === undefined)
    return SendStatusSet.length > 0
      ? { kind: 'sent' }
      : { kind: 'later', why: `answered ${status} without a status of its numbers` };
  const why = `${failed.Code}: ${String(failed.Message).slice(0, 200)}`;
  return BUSY_TENCENT.test(failed.Code ?? '')
    ? { kind: 'later', why, afterMs: MINUTE_MS }
    : { kind: 'never', why };
}

/** Any other gateway: its status says it. */
export function judgePlain(status: number): Outcome {
  if (status >= 200 && status < 300) return { kind: 'sent' };
  return judgeStatus(status) ?? { kind: 'never', why: `answered ${status}` };
}
