// The section rollout: how releases get to the nodes, and when one counts as bad there. Which nodes is fleet.ts's. Pure.

import { duration, file, oneOf, room, text, whole } from './field.ts';

/** The section rollout. */
export const rollout = room({
  user: text(
    '',
    /^[a-z_][a-z0-9_-]{0,31}$|^$/,
    "a user name; empty is ssh's own choice",
    'deploy',
    'The user that rollouts log in as on the nodes, by ssh; needs sudo there unless it is root or supervisor is pm2.',
  ),
  port: whole(22, 1, 65535, 'The port of ssh on the nodes.'),
  key: file('/home/deploy/.ssh/id_ed25519', 'The private key for ssh; empty leaves the choice to ssh.'),
  known_hosts: file(
    '/etc/toonfleet/known_hosts',
    "The file of the nodes' host keys; empty means ssh's own. The key of a node that is new there is accepted once, unseen.",
  ),
  root: text(
    '/opt/toonfleet',
    /^\/[A-Za-z0-9._/-]{1,200}$/,
    'an absolute path of letters, digits, dots and dashes',
    '/opt/toonfleet',
    'The folder of the releases on the nodes; its link current is what runs.',
  ),
  config: text(
    '/etc/toonfleet/toonfleet.yaml',
    /^\/[A-Za-z0-9._/-]{1,200}$/,
    'an absolute path of letters, digits, dots and dashes',
    '/etc/toonfleet/toonfleet.yaml',
    "Each node's own settings, on the node.",
  ),
  node_program: text(
    'node',
    /^[A-Za-z0-9._/-]{1,200}$/,
    'a name or an absolute path',
    '/usr/bin/node',
    "Node's program on the nodes.",
  ),
  supervisor: oneOf(
    ['systemd', 'pm2'],
    'systemd',
    'Who keeps toonfleet on the nodes: systemd restarts the unit toonfleet-node; pm2 has toonfleet start --detach with PM2 alone.',
  ),
  keep: whole(
    3,
    2,
    100,
    'How many releases a node keeps at least; the current one and the one before are never removed.',
  ),
  drain_within: duration(
    '2m',
    '1s',
    '10m',
    'How long a node may take to finish what it has before its release is changed.',
  ),
  ready_within: duration(
    '2m',
    '5s',
    '10m',
    'How long a node may take to be ready and draw well with another release; after that it is put back.',
  ),
  bake: duration(
    '30s',
    '0s',
    '10m',
    'How long a node draws with its new release before the next node gets it.',
  ),
  bake_errors: whole(2, 0, 100, 'The share of its pictures that may fail in this time, percent.'),
  bake_slower: whole(
    200,
    100,
    10_000,
    'How long its pictures may take, percent of what they take on the other nodes.',
  ),
  lock_age: duration(
    '1h',
    '1m',
    '24h',
    'When a lock of a rollout from another machine counts as abandoned; on the same machine its process decides.',
  ),
});
