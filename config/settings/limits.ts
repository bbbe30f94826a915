// The section limits: how large a picture may be, coming in and going out. How many may come is rate-limit.ts's. Pure.

import { room, size, whole } from './field.ts';

/** The section limits. */
export const limits = room({
  upload: size('20MiB', '1KiB', '200MiB', 'The largest picture that may be sent, as multipart or raw.'),
  json: size('30MiB', '1KiB', '300MiB', 'The largest JSON body; base64 makes a picture a third larger.'),
  pixels: whole(50_000_000, 256, 268_000_000, 'The most pixels that a photo may have.'),
  max_side: whole(
    1024,
    16,
    4096,
    'The largest longest side of an answer, in px; also what max_side may ask for.',
  ),
});
