// WeCom's group robot: notices become one markdown message of its chat.

import type { Settings } from '../../../config/schema.ts';
import { wecomMarkdown } from './message.ts';
import type { Notice } from './notice.ts';
import { judgeWecom, type Outcome } from './outcome.ts';
import { post } from './post.ts';

/** A robot takes 20 messages in a minute: a burst of 10 and one in 6 s never exceed that in any 60 s. */
export const WECOM_RATE = { burst: 10, everyMs: 6_000 };
/** How many notices one message tells in full, as far as they fit. */
export const WECOM_TOGETHER = 20;

/** Sends to the robot of that key. */
export function wecomSender(
  relay: Pick<Settings['alerts']['relay'], 'wecom_url'>,
  key: string,
): (notices: readonly Notice[]) => Promise<Outcome> {
  const url = `${relay.wecom_url}?key=${encodeURIComponent(key)}`;
  return (notices) => {
    const body = JSON.stringify({ msgtype: 'markdown', markdown: { content: wecomMarkdown(notices) } });
    return post(url, { 'content-type': 'application/json' }, body, judgeWecom);
  };
}
