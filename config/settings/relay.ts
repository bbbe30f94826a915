// The group alerts.relay: whom alerts reach, and by which ways. When there is one is alerts.ts's. Pure.

import { z } from 'zod';
import { fault, show } from './fault.ts';
import { duration, host, list, oneOf, port, room, secret, secretFile, text, whole } from './field.ts';

/** The group alerts.relay. */
export const relay = room({
  host: host('127.0.0.1', 'The address of the alert relay.'),
  port: port(8083, 'The port of the alert relay.'),
  token: secret('What Alertmanager must send to the relay as a bearer token.'),
  token_file: secretFile('A file that holds alerts.relay.token.'),
  wecom_url: text(
    'https://qyapi.weixin.qq.com/cgi-bin/webhook/send',
    /^https?:\/\/[^\s?#]+$/,
    'an http(s) address without a query',
    'https://qyapi.weixin.qq.com/cgi-bin/webhook/send',
    "The address of WeCom's robots.",
  ),
  wecom_key: secret('The key of the WeCom group robot that tells the team.', 8),
  wecom_key_file: secretFile('A file that holds alerts.relay.wecom_key.'),
  hook: list(z.array(z.string().min(1).max(1000)).max(50), {
    sentence:
      "What is run when a VM's memory is short: a program and its arguments, the alert in its environment and on its stdin; empty runs nothing.",
    allowed: 'a list: an absolute path, then arguments',
    example: '["/etc/toonfleet/scale-out", "--add", "1"]',
  }),
  hook_timeout: duration('1m', '100ms', '1h', 'How long the hook may take before it is killed.'),
  hook_pause: duration('5m', '0s', '24h', 'How long after a hook the next one may run.'),
  sms: room({
    provider: oneOf(
      ['none', 'aliyun', 'tencent', 'http'],
      'none',
      'Who sends text messages for critical alerts: Aliyun, Tencent Cloud, or any gateway that takes {phones, text} as JSON.',
    ),
    url: text(
      '',
      /^(https?:\/\/[^\s?#]+)?$/,
      'an http(s) address without a query',
      'https://sms.example.com/send',
      'The gateway; needed for http, and empty takes the provider’s own.',
    ),
    phones: list(z.array(z.string().regex(/^\+?\d{5,15}$/)).max(20), {
      sentence: 'Who gets text messages.',
      allowed: 'a list of phone numbers; for Tencent with + and the country',
      example: '["+8613800000000"]',
      hidden: true,
    }),
    key_id: text('', /^[^\s]{0,128}$/, 'the id of an access key', 'LTAI…', 'The access key of the provider.'),
    key_secret: secret('The secret of that access key; for http, the bearer token.', 8),
    key_secret_file: secretFile('A file that holds alerts.relay.sms.key_secret.'),
    sign: text('', /^[^\n]{0,40}$/, 'a text', 'toonfleet', 'The signature that the provider has approved.'),
    template: text(
      '',
      /^[A-Za-z0-9_-]{0,40}$/,
      'an id',
      'SMS_123456789',
      'The approved template; its one variable is the alert (Aliyun: named alert).',
    ),
    app: text('', /^\d{0,20}$/, 'digits', '1400006666', 'The SmsSdkAppId; Tencent only.'),
    region: text(
      'ap-guangzhou',
      /^[a-z0-9-]{1,40}$/,
      'a region',
      'ap-guangzhou',
      'The region; Tencent only.',
    ),
    characters: whole(35, 6, 500, 'How long the text of a text message may be, as the template allows.'),
    per_hour: whole(20, 1, 1000, 'How many text messages may be sent in an hour.'),
  }),
});

/** What each provider of short messages cannot do without. */
const SMS_NEEDS = {
  none: [],
  http: ['url', 'phones'],
  aliyun: ['phones', 'key_id', 'key_secret', 'sign', 'template'],
  tencent: ['phones', 'key_id', 'key_secret', 'sign', 'template', 'app'],
} as const;

/** A channel for alerts that could never reach anybody is told at the start, not in the night when it is needed. */
export function relayContradictions({ hook, sms }: z.output<typeof relay>): string[] {
  const faults: string[] = [];
  const [program] = hook;
  if (program !== undefined && !program.startsWith('/'))
    faults.push(
      fault(
        'alerts.relay.hook',
        show(program),
        'an absolute path first',
        'alerts.relay.hook: ["/etc/toonfleet/scale-out"]',
      ),
    );
  for (const name of SMS_NEEDS[sms.provider]) {
    // Who does not read its file does not know it either.
    const value = name === 'key_secret' ? (sms.key_secret ?? sms.key_secret_file) : sms[name];
    if (value.length === 0)
      faults.push(
        fault(
          `alerts.relay.sms.${name}`,
          'nothing',
          `what alerts.relay.sms.provider: ${sms.provider} needs`,
          name === 'key_secret' ? 'TOONFLEET_ALERTS__RELAY__SMS__KEY_SECRET' : 'see toonfleet config docs',
        ),
      );
  }
  return faults;
}
