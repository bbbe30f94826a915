import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { parse } from 'yaml';
import { LOG_PROGRAMS, type LogProgram, RenderFault, renderLogs } from './render.ts';

const places = {
  dataDir: '/var/lib/toonfleet',
  node: '/usr/bin/node',
  root: '/opt/toonfleet/current',
  user: 'toonfleet',
  vm: 'vm-1',
  to: undefined,
};
const render = (program: LogProgram, other: Partial<Parameters<typeof renderLogs>[2]> = {}) =>
  renderLogs(program, readFileSync(new URL(LOG_PROGRAMS[program], import.meta.url), 'utf8'), {
    ...places,
    ...other,
  });

test('logrotate renames and never copies, and has the current release tell PM2, without a signal', () => {
  const text = render('logrotate');
  assert.match(text, /^\/var\/lib\/toonfleet\/pm2\/logs\/\*\.log \{$/m);
  const words = text.replace(/#.*/g, '');
  assert.doesNotMatch(words, /copytruncate/);
  assert.match(words, /^ {2}delaycompress$/m);
  assert.match(words, /^ {2}create 0600 toonfleet toonfleet$/m);
  assert.match(
    words,
    /TOONFLEET_DATA_DIR=\/var\/lib\/toonfleet \/usr\/bin\/node \/opt\/toonfleet\/current\/ops\/toonfleet\.mjs logs reopen\n/,
  );
  assert.doesNotMatch(words, /kill|USR2/);
});

test('Filebeat reads our files, keeps our fields under a name of their own and takes our time', () => {
  const tree = parse(render('filebeat', { to: 'https://elastic.lan:9200' }));
  const [input] = tree['filebeat.inputs'];
  assert.equal(input.type, 'filestream');
  assert.deepEqual(input.paths, ['/var/lib/toonfleet/pm2/logs/*.log']);
  assert.deepEqual(input.fields, { vm: 'vm-1' });
  assert.deepEqual(input.parsers, [{ ndjson: { target: 'toonfleet', add_error_key: true } }]);
  // Rotation renames: a renamed file has to be read to its end.
  assert.equal(input['close.on_state_change.renamed'], false);
  assert.deepEqual(tree.processors[0].timestamp.layouts, ['2006-01-02T15:04:05.999Z']);
  assert.equal(tree.processors[0].timestamp.field, 'toonfleet.time');
  assert.deepEqual(tree['output.elasticsearch'], { hosts: ['https://elastic.lan:9200'] });
});

test('rsyslog sends to the place it was given, an IPv6 address too', () => {
  assert.match(render('rsyslog', { to: 'logs.lan:5514' }), /target="logs\.lan" port="5514"/);
  assert.match(render('rsyslog', { to: 'tcp://[2001:db8::5]:601' }), /target="2001:db8::5" port="601"/);
});

for (const [program, other] of [
  ['rsyslog', {}],
  ['rsyslog', { to: 'logs.lan' }],
  ['rsyslog', { to: 'logs.lan:5514" action="x' }],
  ['filebeat', {}],
  ['filebeat', { to: 'elastic.lan:9200' }],
  ['filebeat', { to: 'http://a"b' }],
  ['logrotate', { dataDir: '/var/lib/my toons' }],
  ['logrotate', { root: '/var/$(reboot)' }],
] as const)
  test(`${program} is not rendered from ${JSON.stringify(other)}`, () => {
    assert.throws(() => render(program, other), RenderFault);
  });
