import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import type { Asked } from '../agents.ts';
import { judgeCertificate } from './certificate.ts';
import type { Report, Verdict } from './finding.ts';
import {
  type AskedNode,
  judgeClocks,
  judgeNode,
  judgeNodeKey,
  judgeReleases,
  judgeTimeZones,
  skewOf,
} from './fleet.ts';
import { judgeModelFiles, judgeSameModels } from './model-files.ts';
import { examinationText, exitCodeOf } from './report.ts';

const NOW = Date.UTC(2026, 10, 21, 17, 0, 0);
const answer = (date = NOW): Asked => ({ kind: 'answer', body: {}, date, sentAt: NOW, answeredAt: NOW + 20 });
const silent: Asked = { kind: 'silent', why: 'nobody listens there' };
const refused = (status: number): Asked => ({ kind: 'refused', status, why: `status ${status}` });
const node = (fields: Partial<AskedNode> = {}): AskedNode => ({
  agent: 'http://10.0.0.11:8001',
  asked: answer(),
  name: 'vm-1',
  release: '1.4.0',
  draining: false,
  workers: [{ url: 'http://10.0.0.11:8100', state: 'ready', asked: answer() }],
  ...fields,
});
const worker = (fields: object) => ({
  url: 'http://10.0.0.11:8100',
  state: 'ready',
  asked: answer(),
  ...fields,
});

const reach: { name: string; node: AskedNode; verdict: Verdict; check?: string }[] = [
  { name: 'answers with its workers', node: node(), verdict: 'ok' },
  { name: 'is silent', node: node({ asked: silent }), verdict: 'bad', check: 'reach' },
  { name: 'does not take the key', node: node({ asked: refused(401) }), verdict: 'bad', check: 'node key' },
  { name: 'is something else', node: node({ asked: refused(404) }), verdict: 'bad', check: 'reach' },
  {
    name: 'hides its workers behind a firewall',
    node: node({ workers: [worker({ asked: silent })] }),
    verdict: 'bad',
    check: 'reach',
  },
  {
    name: 'has workers with another key',
    node: node({ workers: [worker({ asked: refused(401) })] }),
    verdict: 'bad',
    check: 'node key',
  },
  { name: 'has no workers', node: node({ workers: [] }), verdict: 'bad', check: 'reach' },
  {
    name: 'is loading',
    node: node({ workers: [worker({ state: 'loading' })] }),
    verdict: 'warn',
    check: 'reach',
  },
  {
    name: 'is drained',
    node: node({ draining: true, workers: [worker({ state: 'draining' })] }),
    verdict: 'ok',
  },
];
for (const { name, node: asked, verdict, check } of reach)
  test(`a node that ${name}: ${verdict}`, () => {
    const [finding, ...more] = judgeNode(asked, true);
    assert.equal(finding?.verdict, verdict);
    assert.deepEqual(more, []);
    if (check !== undefined) assert.equal(finding?.check, check);
  });

test('a clock is never blamed for the whole seconds of the header or the time of the way', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 5_000 }),
      fc.integer({ min: 0, max: 5_000 }),
      fc.integer({ min: 0, max: 10_000 }),
      (there, back, phase) => {
        const sentAt = NOW + phase;
        const date = Math.floor((sentAt + there) / 1000) * 1000;
        assert.equal(skewOf({ date, sentAt, answeredAt: sentAt + there + back }), 0);
      },
    ),
  );
});

test('a clock that is off by more than a second or two is told with its direction, and half a minute is bad', () => {
  const judge = (ms: number) =>
    judgeClocks([node({ asked: answer(Math.floor((NOW + ms) / 1000) * 1000) })])[0];
  assert.equal(judge(0)?.verdict, 'ok');
  assert.equal(judge(1_000)?.verdict, 'ok');
  assert.equal(judge(5_000)?.verdict, 'warn');
  assert.match(judge(5_000)?.found ?? '', /vm-1 is 5\.0 s ahead of/);
  assert.match(judge(-7_000)?.found ?? '', /6\.0 s behind/);
  assert.equal(judge(-60_000)?.verdict, 'bad');
  assert.deepEqual(judgeClocks([node({ asked: silent })]), []);
});

test('releases that differ are told with who has which, and so is a command of another release', () => {
  const two = [node(), node({ name: 'vm-2', release: '1.5.0' }), node({ name: 'vm-3' })];
  assert.equal(judgeReleases(two, '1.4.0')[0]?.found, '1.4.0 on vm-1, vm-3; 1.5.0 on vm-2');
  assert.equal(judgeReleases([node()], '1.4.0')[0]?.verdict, 'ok');
  assert.match(
    judgeReleases([node()], '1.5.0')[0]?.found ?? '',
    /this command is 1\.5\.0, what runs is 1\.4\.0/,
  );
  assert.deepEqual(judgeReleases([node({ release: undefined })], '1.4.0'), []);
});

test('a fleet on private addresses without a key is told, one on loopback is not', () => {
  const hosts = (host: string) => [{ setting: 'agent.host', host }];
  assert.equal(judgeNodeKey({ hosts: hosts('10.0.0.11'), keyed: false }).verdict, 'warn');
  assert.equal(judgeNodeKey({ hosts: hosts('0.0.0.0'), keyed: false }).verdict, 'warn');
  for (const host of ['127.0.0.1', '127.8.8.8', '::1', 'localhost'])
    assert.equal(judgeNodeKey({ hosts: hosts(host), keyed: false }).verdict, 'ok');
  assert.equal(judgeNodeKey({ hosts: hosts('10.0.0.11'), keyed: true }).verdict, 'ok');
});

const certificate = (days: number) =>
  ({ kind: 'good', certificate: { names: 'DNS:x', expiresAt: NOW + days * 86_400_000 } }) as const;
for (const [name, found, awaited, verdict] of [
  ['three months', certificate(90), false, 'ok'],
  ['two weeks less an hour', certificate(13.9), false, 'warn'],
  ['no time at all', certificate(-0.01), false, 'bad'],
  ['a key of another', { kind: 'broken', fault: 'not the key' }, false, 'bad'],
  ['no file', { kind: 'missing', fault: 'no file' }, false, 'bad'],
  ['no file, while an authority is asked', { kind: 'missing', fault: 'no file' }, true, 'warn'],
] as const)
  test(`a certificate with ${name}: ${verdict}`, () => {
    assert.equal(judgeCertificate(found, awaited, NOW).verdict, verdict);
  });

test('a model file that is not the one of the manifest is named with what to do', () => {
  const file = {
    model: 'hayao',
    path: '/m/hayao.onnx',
    sha256: 'a'.repeat(64),
    embedded: false,
    source: true,
  };
  assert.equal(judgeModelFiles([{ ...file, actual: file.sha256 }])[0]?.verdict, 'ok');
  assert.match(
    judgeModelFiles([{ ...file, actual: 'b'.repeat(64) }])[0]?.found ?? '',
    /hayao: .*bbbbbbbbbbbb/,
  );
  assert.match(judgeModelFiles([{ ...file, actual: undefined }])[0]?.found ?? '', /cannot be read/);
  const advice = (kind: { embedded?: boolean; source?: boolean }) =>
    judgeModelFiles([{ ...file, ...kind, actual: undefined }])[0]?.advice ?? '';
  assert.match(advice({ embedded: true }), /package/);
  assert.match(advice({}), /bring the same file again, or toonfleet models remove/);
  assert.match(advice({ source: false }), /models optimize/);
});

test('models have to be the same on all nodes', () => {
  const at = (name: string, models: Record<string, string>) => ({ node: name, models });
  assert.equal(judgeSameModels([at('a', { x: '1' }), at('b', { x: '1' })])[0]?.verdict, 'ok');
  assert.match(judgeSameModels([at('a', { x: '1' }), at('b', { x: '2' })])[0]?.found ?? '', /a 1…, b 2…/);
  assert.equal(judgeSameModels([at('a', { x: '1' }), at('b', {})])[0]?.verdict, 'warn');
  assert.deepEqual(judgeSameModels([at('a', { x: '1' })]), []);
});

const report = (fields: Partial<Report> = {}): Report => ({
  node: 'vm-1',
  release: '1.4.0',
  time_zone: 'UTC',
  models: {},
  findings: [{ check: 'disk', verdict: 'ok', found: 'room' }],
  ...fields,
});

test('time zones that differ are told', () => {
  assert.deepEqual(judgeTimeZones([report(), report({ node: 'vm-2' })]), []);
  assert.match(
    judgeTimeZones([report(), report({ node: 'vm-2', time_zone: 'Asia/Shanghai' })])[0]?.found ?? '',
    /vm-2 Asia\/Shanghai/,
  );
});

test('the exit code is 1 when something is bad, wherever, and the text counts', () => {
  const finding = (verdict: Verdict) => ({
    check: 'x',
    verdict,
    found: 'f\u001b[2J',
    ...(verdict === 'ok' ? {} : { advice: 'do' }),
  });
  assert.equal(exitCodeOf({ fleet: [], machines: [report()] }), 0);
  assert.equal(exitCodeOf({ fleet: [finding('warn')], machines: [report()] }), 0);
  assert.equal(exitCodeOf({ fleet: [finding('bad')], machines: [report()] }), 1);
  assert.equal(exitCodeOf({ fleet: [], machines: [report(), report({ findings: [finding('bad')] })] }), 1);
  const text = examinationText({ fleet: [finding('bad'), finding('warn')], machines: [report()] });
  assert.match(text, /3 checks: 1 ok, 1 to look at, 1 bad$/);
  assert.match(text, /→ do/);
  assert.ok(!text.includes('\u001b'));
});
