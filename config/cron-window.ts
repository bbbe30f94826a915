// A stretch of time between two cron expressions, such as 01:00 to 06:00 in Shanghai. Pure: the moment is an argument.
//
// node-cron reads the expressions; whether a moment lies within is asked of the clock on the wall: which of the two came
// last. So a `from` that the change to summer time skips still counts, and nothing has to be remembered over a restart.

import { parse, validate } from 'node-cron';

/** From one cron expression until another. */
export interface CronWindow {
  readonly from: string;
  readonly to: string;
}

/** Four years and a day: `0 0 29 2 *` has a last time. */
const LOOK_BACK_DAYS = 4 * 366 + 1;
const DAY_MS = 86_400_000;

/** Whether node-cron reads it, it has five fields, and names its days by number. */
export function isCron(expression: string): boolean {
  if (expression.trim().split(/\s+/).length !== 5 || !validate(expression)) return false;
  const { dayOfMonth, dayOfWeek } = parse(expression);
  return [...dayOfMonth, ...dayOfWeek].every((day) => typeof day === 'number');
}

/** Whether it is a time zone of this system's IANA database. */
export function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch {
    return false;
  }
}

/**
 * Whether a moment (ms since 1970) lies within a window: from the minute of `from`, up to and without the minute of `to`.
 * Both have to be {@link isCron}.
 */
export function isWithin({ from, to }: CronWindow, now: number, timeZone: string): boolean {
  const wall = wallClock(now, timeZone);
  const began = lastTime(from, wall);
  if (began === undefined) return false;
  const ended = lastTime(to, wall);
  return ended === undefined || began > ended;
}

/** What the clock on a wall of that zone shows, as ms since 1970 of a place without offset. */
function wallClock(now: number, timeZone: string): number {
  const parts = new Intl.DateTimeFormat('en', {
    timeZone,
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
  }).formatToParts(now);
  const part = (type: Intl.DateTimeFormatPartTypes) =>
    Number(parts.find((each) => each.type === type)?.value);
  return Date.UTC(part('year'), part('month') - 1, part('day'), part('hour'), part('minute'));
}

/** The last minute up to `wall` that an expression names; undefined when there was none in four years. */
function lastTime(expression: string, wall: number): number | undefined {
  const { minute, hour, dayOfMonth, month, dayOfWeek } = parse(expression);
  const today = Math.floor(wall / DAY_MS) * DAY_MS;
  for (let back = 0; back <= LOOK_BACK_DAYS; back++) {
    const day = today - back * DAY_MS;
    const date = new Date(day);
    const fits =
      month.includes(date.getUTCMonth() + 1) &&
      dayOfMonth.includes(date.getUTCDate()) &&
      dayOfWeek.includes(date.getUTCDay());
    if (!fits) continue;
    const times = hour.flatMap((h) => minute.map((m) => day + (h * 60 + m) * 60_000));
    const passed = times.filter((time) => time <= wall);
    if (passed.length > 0) return Math.max(...passed);
  }
  return undefined;
}
