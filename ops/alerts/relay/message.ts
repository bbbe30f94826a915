// Alerts in the words of each channel, cut to what the channel takes. Pure.

import type { Alert, Notice } from './notice.ts';

/** What WeCom takes in one markdown message, bytes of UTF-8; a byte more and it says 40058. */
export const WECOM_BYTES = 4096;

const CUT = '…';

/** The text, or as many whole characters of its beginning as fit into so many bytes of UTF-8 together with a mark. */
export function fitBytes(text: string, limit: number): string {
  if (Buffer.byteLength(text) <= limit) return text;
  let bytes = Buffer.byteLength(CUT);
  let kept = '';
  for (const character of text) {
    bytes += Buffer.byteLength(character);
    if (bytes > limit) break;
    kept += character;
  }
  return kept + CUT;
}

/** The same for a number of characters. */
export function fitCharacters(text: string, limit: number): string {
  const characters = [...text];
  return characters.length <= limit ? text : characters.slice(0, Math.max(0, limit - 1)).join('') + CUT;
}

/** Notices as one markdown message for WeCom. Those that do not fit are told by their number, at the end that is never cut. */
export function wecomMarkdown(notices: readonly Notice[]): string {
  const parts = notices.map(markdownOf);
  for (let shown = parts.length; shown > 1; shown--) {
    const text = [...parts.slice(0, shown), ...more(parts.length - shown)].join('\n\n');
    if (Buffer.byteLength(text) <= WECOM_BYTES) return text;
  }
  const [rest = ''] = more(parts.length - 1);
  const room = WECOM_BYTES - (rest === '' ? 0 : Buffer.byteLength(rest) + 2);
  const first = fitBytes(parts[0] ?? '', room);
  return rest === '' ? first : `${first}\n\n${rest}`;
}

const more = (count: number) =>
  count > 0 ? [`and ${count} more ${count === 1 ? 'notice' : 'notices'}`] : [];

function markdownOf(notice: Notice): string {
  const { severity = 'unknown' } = notice.commonLabels;
  const firing = notice.alerts.filter(({ status }) => status === 'firing');
  const resolved = notice.alerts.filter(({ status }) => status === 'resolved');
  const colour = firing.length === 0 ? 'info' : 'warning';
  const runbook = notice.alerts[0]?.annotations.runbook_url;
  return [
    `<font color="${colour}">**${nameOf(notice)}**</font> ${firing.length > 0 ? severity : 'resolved'}`,
    ...firing.map((alert) => `> ${linesOf(alert)}`),
    ...resolved.map((alert) => `> resolved: ${alert.annotations.summary ?? placeOf(alert)}`),
    ...(notice.truncatedAlerts > 0 ? [`> and ${notice.truncatedAlerts} more`] : []),
    ...(runbook === undefined || firing.length === 0 ? [] : [linkOf(runbook)]),
  ].join('\n');
}

/** WeCom follows links to addresses only. */
const linkOf = (runbook: string) =>
  /^https?:/.test(runbook) ? `[what to do](${runbook})` : `what to do: ${runbook}`;

const linesOf = ({ annotations, startsAt, ...alert }: Alert) =>
  [annotations.summary ?? placeOf(alert), annotations.description, `since ${startsAt.replace(/\.\d+/, '')}`]
    .filter((line) => line !== undefined)
    .join('\n> ');

const placeOf = ({ labels }: Pick<Alert, 'labels'>) => labels.instance ?? labels.alertname ?? 'unnamed';

const nameOf = ({ groupLabels, commonLabels }: Notice) =>
  groupLabels.alertname ?? commonLabels.alertname ?? 'alerts';

/** Notices as the few words of a short message: names and places. */
export function shortText(notices: readonly Notice[], characters: number): string {
  const words = notices.map((notice) => {
    const places = notice.alerts
      .filter(({ status }) => status === notice.status)
      .map(({ labels }) => labels.instance)
      .filter((place) => place !== undefined);
    const end = notice.status === 'resolved' ? ' resolved' : '';
    return `${nameOf(notice)}${end}${places.length > 0 ? ` ${places.join(' ')}` : ''}`;
  });
  return fitCharacters(words.join('; '), characters);
}
