// The section backup: where snapshots lie, which are kept, and where they go from there. What is in one is not known
// here. Pure.

import { duration, flag, folder, oneOf, room, secret, secretFile, text, whole } from './field.ts';

/** The section backup. */
export const backup = room({
  dir: folder(
    '',
    'Where snapshots are kept; empty is backup/ in data_dir. Another disk is better, another place (offsite) best.',
  ),
  calendar: text(
    '*-*-* 03:00:00',
    /^[0-9A-Za-z*:/,.~ -]{1,80}$/,
    "a moment in systemd's words (systemd-analyze calendar)",
    'Mon..Sat 02:30',
    "When the backup's systemd timer runs; each machine starts up to half an hour later.",
  ),
  keep_daily: whole(7, 0, 366, 'For how many days that have snapshots the last one is kept.'),
  keep_weekly: whole(4, 0, 520, 'The same for weeks.'),
  keep_monthly: whole(6, 0, 1200, 'The same for months.'),
  secrets: flag(false, 'Whether files with secrets are copied as well; a snapshot then opens doors.'),
  offsite: oneOf(
    ['none', 'restic', 'rsync'],
    'none',
    'The program that takes each snapshot elsewhere; restic encrypts, rsync does not.',
  ),
  target: text(
    '',
    /^([^-\s\0][^\0\n]*)?$/,
    'a repository of restic, or for rsync a folder, here or as USER@HOST:PATH',
    'backup@10.0.0.9:/srv/toonfleet',
    'Where offsite takes them; without a password in it. With rsync each machine needs a place of its own.',
  ),
  password: secret("The password of restic's repository; without it nobody can read the snapshots there.", 8),
  password_file: secretFile('A file that holds backup.password.'),
  timeout: duration('6h', '1s', '48h', 'How long one run of restic or rsync may take.'),
});
