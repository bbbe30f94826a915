// The section nginx: what a configuration for nginx needs beyond the other sections. Its text is not made here. Pure.

import { z } from 'zod';
import { folder, HOST_PORT, list, room } from './field.ts';

/** The section nginx. */
export const nginx = room({
  servers: list(z.array(z.string().regex(HOST_PORT)), {
    sentence: "What nginx balances, if it is not worker.shared_port on each agent's host.",
    allowed: 'a list of HOST:PORT',
    example: '["10.0.0.11:8000", "10.0.0.12:9000"]',
  }),
  dir: folder('/var/lib/nginx', 'Where nginx keeps its caches and the uploads that are under way.'),
  log_dir: folder('/var/log/nginx', 'Where nginx writes toonfleet-access.log, a JSON line a request.'),
});
