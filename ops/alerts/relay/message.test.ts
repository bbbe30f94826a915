import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { fitBytes, fitCharacters, shortText, WECOM_BYTES, wecomMarkdown } from './message.ts';
import type { Alert, Notice } from './notice.ts';

const alert = (change: Partial<Alert> = {}): Alert => ({
  status: 'firing',
  labels: { alertname: 'NodeDown', instance: 'vm-1:8001', severity: 'critical' },
  annotations: { summary: 'The node vm-1:8001 does not answer', runbook_url: 'docs/runbook.md#nodedown' },
  startsAt: '2026-01-02T03:04:05.678Z',
  endsAt: '0001-01-01T00:00:00Z',
  fingerprint: 'f1',
  ...change,
});

const notice = (change: Partial<Notice> = {}): Notice => ({
  version: '4',
  groupKey: '{}:{alertname="NodeDown"}',
  truncatedAlerts: 0,
  status: 'firing',
  groupLabels: { alertname: 'NodeDown' },
  commonLabels: { alertname: 'NodeDown', severity: 'critical' },
  alerts: [alert()],
  ...change,
});

const anyText = fc.string({ unit: 'grapheme', maxLength: 3000 });

test('a cut text never has more bytes than allowed, is a beginning of the whole, and ends between characters', () => {
  fc.assert(
    fc.property(anyText, fc.integer({ min: 3, max: 5000 }), (text, limit) => {
      const cut = fitBytes(text, limit);
      assert.ok(Buffer.byteLength(cut) <= limit);
      assert.equal(Buffer.from(cut).toString('utf8'), cut);
      if (cut === text) return;
      assert.ok(cut.endsWith('…'));
      assert.ok(text.startsWith(cut.slice(0, -1)));
      // One character more would not have fitted.
      const [next = ''] = text.slice(cut.length - 1);
      const whole = [...text.slice(cut.length - 1)][0] ?? next;
      assert.ok(Buffer.byteLength(cut) + Buffer.byteLength(whole) > limit);
    }),
  );
});

const cuts: [text: string, limit: number, cut: string][] = [
  ['abc', 3, 'abc'],
  ['abcd', 3, '…'],
  ['节点失联了', 15, '节点失联了'],
  ['节点失联了', 14, '节点失…'],
  ['a😀b', 6, 'a😀b'],
  ['a😀bc', 6, 'a…'],
  ['', 3, ''],
];
for (const [text, limit, cut] of cuts)
  test(`"${text}" in ${limit} bytes is "${cut}"`, () => assert.equal(fitBytes(text, limit), cut));

test('a text is cut to characters too', () => {
  assert.equal(fitCharacters('节点失联', 4), '节点失联');
  assert.equal(fitCharacters('节点失联了', 4), '节点失…');
});

test('a message names the alert, its severity, what it means and where to read on', () => {
  assert.equal(
    wecomMarkdown([notice()]),
    [
      '<font color="warning">**NodeDown**</font> critical',
      '> The node vm-1:8001 does not answer',
      '> since 2026-01-02T03:04:05Z',
      'what to do: docs/runbook.md#nodedown',
    ].join('\n'),
  );
});

test('what is over is told without alarm', () => {
  const over = notice({ status: 'resolved', alerts: [alert({ status: 'resolved' })] });
  assert.equal(
    wecomMarkdown([over]),
    '<font color="info">**NodeDown**</font> resolved\n> resolved: The node vm-1:8001 does not answer',
  );
});

test('a message never exceeds what WeCom takes, and says how many notices it leaves out', () => {
  fc.assert(
    fc.property(fc.array(anyText, { minLength: 1, maxLength: 12 }), (summaries) => {
      const text = wecomMarkdown(
        summaries.map((summary) => notice({ alerts: [alert({ annotations: { summary } })] })),
      );
      assert.ok(Buffer.byteLength(text) <= WECOM_BYTES);
      const left = Number(/and (\d+) more notices?$/.exec(text)?.[1] ?? 0);
      assert.equal(
        text.split('**NodeDown**').length - 1 + left >= summaries.length || text.includes('…'),
        true,
      );
    }),
    { numRuns: 50 },
  );
  const long = notice({ alerts: [alert({ annotations: { summary: '失'.repeat(3000) } })] });
  assert.match(wecomMarkdown([long, long, long]), /…\n\nand 2 more notices$/);
});

test('a short message has names and places', () => {
  const two = notice({
    alerts: [alert(), alert({ labels: { instance: 'vm-2:8001' } }), alert({ status: 'resolved' })],
  });
  const over = notice({ status: 'resolved', alerts: [alert({ status: 'resolved' })] });
  assert.equal(shortText([two], 100), 'NodeDown vm-1:8001 vm-2:8001');
  assert.equal(shortText([two, over], 100), 'NodeDown vm-1:8001 vm-2:8001; NodeDown resolved vm-1:8001');
  assert.equal([...shortText([two, over], 35)].length, 35);
});
