// What Elasticsearch would get of our own lines. Filebeat itself is in no registry that is at hand: its input and its processors
// are played here as its reference describes them, on lines that our processes really write.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { z } from 'zod';
import { LOG_PROGRAMS, renderLogs } from './render.ts';

type Event = Record<string, unknown>;

const fields = z.array(z.string());
const processor = z.union([
  z.strictObject({
    timestamp: z.strictObject({
      field: z.string(),
      layouts: z.tuple([z.string()]),
      test: z.array(z.string()),
      ignore_missing: z.literal(true),
    }),
  }),
  z.strictObject({
    drop_fields: z.strictObject({
      when: z.strictObject({ has_fields: fields }).optional(),
      fields,
      ignore_missing: z.literal(true),
    }),
  }),
  z.strictObject({
    rename: z.strictObject({
      fields: z.array(z.strictObject({ from: z.string(), to: z.string() })),
      ignore_missing: z.literal(true),
      fail_on_error: z.literal(false),
    }),
  }),
]);

const config = z
  .object({
    'filebeat.inputs': z.tuple([
      z.object({
        fields: z.record(z.string(), z.string()),
        fields_under_root: z.literal(true),
        parsers: z.tuple([
          z.strictObject({ ndjson: z.strictObject({ target: z.string(), add_error_key: z.literal(true) }) }),
        ]),
      }),
    ]),
    processors: z.array(processor),
  })
  .parse(
    parse(
      renderLogs('filebeat', readFileSync(new URL(LOG_PROGRAMS.filebeat, import.meta.url), 'utf8'), {
        dataDir: '/var/lib/toonfleet',
        node: 'node',
        root: '/r',
        user: 'u',
        vm: 'vm-1',
        to: 'https://elastic.lan:9200',
      }),
    ),
  );

/** A dotted name's value, and the same without it. */
function take(event: Event, name: string): { value: unknown; rest: Event } {
  const [key = '', ...inner] = name.split('.');
  const { [key]: value, ...others } = event;
  if (inner.length === 0) return { value, rest: others };
  if (typeof value !== 'object' || value === null) return { value: undefined, rest: event };
  const below = take(value as Event, inner.join('.'));
  return { value: below.value, rest: { ...others, [key]: below.rest } };
}

function put(event: Event, name: string, value: unknown): Event {
  const [key = '', ...inner] = name.split('.');
  const there = (event[key] ?? {}) as Event;
  return { ...event, [key]: inner.length === 0 ? value : put(there, inner.join('.'), value) };
}

/** A time of Go's example moment as an expression that matches what it reads; .999 is any fraction, or none. */
const expressionOf = (layout: string) =>
  new RegExp(
    `^${layout
      .replace('.999', '(\\.\\d+)?')
      .replace('2006', '\\d{4}')
      .replace(/0[1-5]|15/g, '\\d\\d')}$`,
  );

/** One line as it leaves for Elasticsearch. */
function shipped(line: string): Event {
  const [input] = config['filebeat.inputs'];
  const { target } = input.parsers[0].ndjson;
  let event: Event = { ...input.fields };
  try {
    event = { ...event, message: line, [target]: JSON.parse(line) };
  } catch {
    event = { ...event, message: line, error: { type: 'json' } };
  }
  for (const step of config.processors) {
    if ('timestamp' in step) {
      const { value } = take(event, step.timestamp.field);
      if (value === undefined) continue;
      assert.match(String(value), expressionOf(step.timestamp.layouts[0]));
      event = put(event, '@timestamp', value);
    } else if ('drop_fields' in step) {
      const { when, fields: names } = step.drop_fields;
      if (when?.has_fields.some((name) => take(event, name).value === undefined)) continue;
      for (const name of names) event = take(event, name).rest;
    } else {
      for (const { from, to } of step.rename.fields) {
        const { value, rest } = take(event, from);
        if (value === undefined) continue;
        // Filebeat renames nothing onto what is there, and says so in its own log only.
        assert.equal(take(rest, to).value, undefined, `${to} is there already`);
        event = put(rest, to, value);
      }
    }
  }
  return event;
}

/** What a process with our log writes. */
function linesOf(code: string): string[] {
  const log = new URL('../process/log.ts', import.meta.url).href;
  const { stdout, stderr, status } = spawnSync(
    process.execPath,
    [
      '--import',
      'tsx',
      '--input-type=module',
      '-e',
      `import { createLog } from '${log}'; const log = createLog('balancer', 'info'); ${code}`,
    ],
    { cwd: fileURLToPath(new URL('../..', import.meta.url)), encoding: 'utf8' },
  );
  assert.equal(status, 0, stderr);
  return stdout.split('\n').filter(Boolean);
}

test('a line of ours arrives with its message, level and time where Elastic looks for them, and the rest below toonfleet', () => {
  const [line = ''] = linesOf(
    `log.warn({ host: 'x', path: '/v1/images', error: new Error('e') }, 'request');`,
  );
  const written = JSON.parse(line) as Event;
  const event = shipped(line);
  assert.equal(event.message, 'request');
  assert.deepEqual(event.log, { level: 'warn' });
  assert.equal(event['@timestamp'], written.time);
  assert.equal(event.vm, 'vm-1');
  const { time: _time, message: _message, level: _level, ...rest } = written;
  assert.deepEqual(event.toonfleet, rest);
  assert.deepEqual(Object.keys(event).sort(), ['@timestamp', 'log', 'message', 'toonfleet', 'vm']);
});

test('a line that is no JSON arrives as it is', () => {
  const event = shipped('Error: a crash of Node');
  assert.equal(event.message, 'Error: a crash of Node');
  assert.equal(event.toonfleet, undefined);
});
