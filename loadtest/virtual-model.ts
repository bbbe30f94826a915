// What virtual workers claim to draw, and how their answers are recognised. Pure.

import type { StyleList } from '../config/contract.ts';

/** What `X-Model` of a virtual worker begins with. */
export const VIRTUAL_MODEL = 'virtual';

/** Their one style: the one that a request means when it names none. */
export const VIRTUAL_STYLES: StyleList = {
  styles: [
    {
      id: 'meadow',
      title: 'Virtual',
      model: VIRTUAL_MODEL,
      licence: 'none',
      thumbnail_url: null,
      aliases: [],
      default: true,
    },
  ],
};
