// The section alerts: what Prometheus reads, and from when on it alerts. Whom that reaches is relay.ts's. Pure.

import { z } from 'zod';
import { duration, HOST_PORT, list, room, text, whole } from './field.ts';
import { relay } from './relay.ts';

/** The section alerts. */
export const alerts = room({
  job: text(
    'animegan',
    /^[a-zA-Z_][a-zA-Z0-9_-]{0,39}$/,
    'letters, digits, dashes and underscores',
    'animegan',
    'The job label of everything that Prometheus reads from toonfleet, as in up{job="animegan"}.',
  ),
  scrape_interval: duration('15s', '1s', '1m', 'How often Prometheus reads each balancer and each node.'),
  balancers: list(z.array(z.string().regex(HOST_PORT)), {
    sentence: "The balancers' admin ports, where Prometheus reads them; empty is this machine's own.",
    allowed: 'a list of HOST:PORT',
    example: '["10.0.0.10:8081", "10.0.0.20:8081"]',
  }),
  alertmanager: text(
    '127.0.0.1:9093',
    HOST_PORT,
    'HOST:PORT',
    '127.0.0.1:9093',
    'Where Prometheus finds Alertmanager.',
  ),
  runbook: text(
    'docs/runbook.md',
    /^[^\s"#]+$/,
    'a path or an address',
    'https://wiki.example.com/toonfleet/runbook',
    'Where the runbook is; every alert names it, with its own section after a #.',
  ),
  success: whole(95, 1, 100, 'The share of good answers (%) below which an alert fires after 5 minutes.'),
  p95: duration('2s', '10ms', '10m', 'The 95th percentile of answers above which an alert fires.'),
  queue: whole(50, 1, 100_000, 'How many pictures may wait for 5 minutes before an alert fires.'),
  memory: whole(90, 1, 100, "The share of a VM's memory (%) above which an alert fires and the hook runs."),
  cpu: whole(85, 1, 100, "The share of a VM's CPU (%) above which an alert fires after 10 minutes."),
  disk: whole(10, 1, 99, 'The free share of the disk of data_dir (%) below which an alert fires.'),
  certificate: duration(
    '14d',
    '1h',
    '365d',
    'How long a certificate must still be valid; below that an alert fires.',
  ),
  backup: duration('36h', '1h', '60d', 'How old the last backup of a machine may be.'),
  down: duration('1m', '1s', '1h', 'How long a node or a balancer must be silent before it counts as down.'),
  slo: text(
    '99.9',
    /^\d{2}(\.\d{1,3})?$/,
    'a percentage with two digits in front, such as 99 or 99.95',
    '99.9',
    'The share of good answers (%) that is promised over 30 days; alerts fire when its error budget burns too fast.',
  ),
  relay,
});
