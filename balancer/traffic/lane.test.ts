import assert from 'node:assert/strict';
import test from 'node:test';
import { destinationOf, type Lane, laneOf, leadsTo } from './lane.ts';

/** Which of these releases a lane leads to, when some of them can work. */
const reached = (lane: Lane, working: readonly string[], releases: readonly (string | undefined)[]) => {
  const to = destinationOf(lane, (release) => working.includes(release));
  return releases.filter((release) => leadsTo(to, release));
};
const GREEN_ALONE = laneOf({ blue: 0, green: 100 }, 'c', undefined);
const ALL = ['blue', 'green', 'other', undefined] as const;

const CASES: { name: string; lane: Lane; working: string[]; to: (string | undefined)[] }[] = [
  {
    name: 'undivided traffic goes everywhere',
    lane: laneOf(undefined, 'c', undefined),
    working: [],
    to: [...ALL],
  },
  { name: 'at 0 and 100 all goes to the one', lane: GREEN_ALONE, working: ['blue', 'green'], to: ['green'] },
  {
    name: 'when that one cannot work, what has no weight takes over, and never what was set to 0',
    lane: GREEN_ALONE,
    working: ['blue', 'other'],
    to: ['other', undefined],
  },
  {
    name: 'of two that share, the other takes over',
    lane: laneOf({ blue: 1, green: 1 }, 'c', undefined),
    working: ['blue'],
    to: ['blue'],
  },
  {
    name: 'a release asked for by name is had even at 0',
    lane: laneOf({ blue: 0, green: 100 }, 'c', 'blue'),
    working: ['blue', 'green'],
    to: ['blue'],
  },
  {
    name: 'and nobody stands in for it',
    lane: laneOf({ blue: 0, green: 100 }, 'c', 'blue'),
    working: ['green'],
    to: ['blue'],
  },
];
for (const { name, lane, working, to } of CASES)
  test(name, () => assert.deepEqual(reached(lane, working, ALL), to));
