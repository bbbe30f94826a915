// The section node: what one VM is called, where it stands, and the key that its fleet shares. Pure.

import { flag, room, secret, secretFile, text } from './field.ts';

/** The section node. */
export const node = room({
  name: text(
    '',
    /^([a-z0-9][a-z0-9-]{0,38})?$/,
    'lower-case letters, digits and dashes, at most 39 characters',
    'vm-1',
    'The name of this VM in rosters, headers and result ids; empty takes the host name.',
  ),
  zone: text(
    'default',
    /^[A-Za-z0-9._-]{1,40}$/,
    'letters, digits, dots and dashes',
    'zone-a',
    'The zone of this VM.',
  ),
  preemptible: flag(false, 'True for a VM that its provider may take away at any time.'),
  key: secret(
    'Shared by balancers, agents and workers: with it set, workers and agents serve only requests that carry it.',
  ),
  key_file: secretFile('A file that holds node.key.'),
});
