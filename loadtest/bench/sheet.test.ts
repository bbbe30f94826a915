import assert from 'node:assert/strict';
import test from 'node:test';
import { shellWords } from '../report/words.ts';
import { markdown, printSheet, type Sheet } from './sheet.ts';

const sheet: Sheet = {
  words: ['balancer', '--only', 'haproxy tuned,nginx nodes'],
  tables: [{ title: 'Latency', head: ['', 'p99'], rows: [['nginx nodes', '744']] }],
  notes: ['One round.'],
  data: { rows: [{ p99: 744 }] },
};

/** What is printed. */
function printed(t: test.TestContext, json: boolean): string {
  let output = '';
  const write = process.stdout.write.bind(process.stdout) as (piece: string | Uint8Array) => boolean;
  t.mock.method(process.stdout, 'write', (piece: string | Uint8Array) => {
    // The test runner tells its own news by the same way, in bytes.
    if (typeof piece !== 'string') return write(piece);
    output += piece;
    return true;
  });
  printSheet(sheet, json);
  t.mock.restoreAll();
  return output;
}

test('a sheet says by which command, where and when it was measured, and holds tables that docs take', (t) => {
  const [origin, ...rest] = printed(t, false).split('\n');
  assert.match(
    origin ?? '',
    /^`npm run bench -- balancer --only 'haproxy tuned,nginx nodes'`, \d+ × .+, Node v.+, \d{4}-\d\d-\d\d$/,
  );
  assert.deepEqual(rest, [
    '',
    'Latency:',
    '',
    '|  | p99 |',
    '| --- | --- |',
    '| nginx nodes | 744 |',
    '',
    '- One round.',
    '',
  ]);
});

test('for programs a sheet is JSON with its figures and nothing around it', (t) => {
  const { rows, notes, command, machine } = JSON.parse(printed(t, true)) as Record<string, unknown>;
  assert.deepEqual([rows, notes], [[{ p99: 744 }], ['One round.']]);
  assert.ok(typeof command === 'string' && typeof machine === 'string');
});

test('a table has its rule under its head', () => {
  assert.equal(markdown({ head: ['a', 'b'], rows: [['1', '2']] }), '| a | b |\n| --- | --- |\n| 1 | 2 |');
});

test('arguments are given as a shell takes them', () => {
  assert.equal(shellWords(['--p95', '2s', 'two words', "it's", '']), "--p95 2s 'two words' 'it'\\''s' ''");
});
