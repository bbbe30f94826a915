// The section results: where stored results lie, for how long and how many bytes of them. Pure.

import { duration, folder, room, size } from './field.ts';

/** The section results. */
export const results = room({
  dir: folder('', 'Where stored results live; empty is results/ in data_dir.'),
  ttl: duration('24h', '1m', '30d', 'How long a stored result is kept.'),
  budget: size(
    '2GiB',
    '1MiB',
    '1000GiB',
    'How much disk stored results may take; beyond it an answer that needs one is 507.',
  ),
});
