import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import type { Signal } from '../agent/scale.ts';
import { type Demand, decide, type Memory, NOTHING_YET, type Rules, stillAsleep, type Vm } from './decide.ts';

const vm = (id: string, more: Partial<Vm> = {}): Vm => ({
  url: `http://${id}:8001`,
  id,
  zone: 'a',
  available: true,
  draining: false,
  answers: true,
  slots: 2,
  ...more,
});
const off = { available: false, answers: false, slots: 0 };
const RULES: Rules = { min: 1, names: [], spare: 'none', tolerance: 0.1, upAfterMs: 0, downAfterMs: 0 };
const slots = (value: number): Signal => ({ kind: 'whole', name: 'slots', target: 0.7, value, say: String });
const demand = (share: number, busy = 0): Demand => ({ signals: [slots(share)], busy, queued: 0 });
const memory = (more: Partial<Memory> = {}): Memory => ({ ...NOTHING_YET, ...more });
const asleep = (id: string, zone = 'a') => ({ url: `http://${id}:8001`, id, zone });

test('who is woken, and who is not', () => {
  const fleet = [vm('one'), vm('two', off), vm('three', off)];
  const move = (of: Partial<Memory>, rules: Partial<Rules> = {}, vms = fleet) =>
    decide(vms, demand(1), memory(of), { ...RULES, ...rules }, 0).move;
  const woken = (...args: Parameters<typeof move>) => {
    const made = move(...args);
    return made.kind === 'wake' ? made.vm.id : made.words.replace(/^.*; /, '');
  };
  assert.equal(woken({ parked: [asleep('three')] }), 'three', 'who was parked here');
  assert.equal(woken({}), 'there is no VM to wake', 'nobody else who is down');
  assert.equal(woken({}, { names: ['two:8001'] }), 'two', 'unless the settings name him');
  const parked = [asleep('two'), asleep('three')];
  assert.equal(woken({ parked, failed: { 'http://three:8001': 5 } }), 'two');
  assert.equal(woken({ parked, failed: { 'http://two:8001': 9, 'http://three:8001': 5 } }), 'three');
  assert.equal(woken({ parked, restUntil: 4_500 }), 'the pause after the last move lasts 5 s more');
  const drained = [vm('one'), vm('two', { available: false, draining: true })];
  assert.equal(
    woken({}, { names: ['two'] }, drained),
    'there is no VM to wake',
    'an operator has drained it',
  );
  const zones = [vm('one', { zone: 'a' }), vm('two', off), vm('three', { ...off, zone: 'b' })];
  assert.equal(
    woken({ parked: [asleep('two', 'a'), asleep('three', 'b')] }, {}, zones),
    'three',
    'the poorer zone',
  );
});

test('who is parked, and who is not', () => {
  const parkedOf = (vms: Vm[], rules: Partial<Rules> = {}, busy = 0, of: Partial<Memory> = {}) => {
    const { move } = decide(vms, demand(0.1, busy), memory(of), { ...RULES, ...rules }, 0);
    return move.kind === 'park' ? move.vm.id : move.words.replace(/^.*; /, '');
  };
  const three = [vm('one'), vm('two', { zone: 'b' }), vm('three', { zone: 'b', slots: 1 })];
  assert.equal(parkedOf(three), 'three', 'the smallest of the largest zone');
  assert.equal(parkedOf(three, { names: ['one'] }), 'one');
  assert.equal(parkedOf(three, { names: ['seven'] }), 'there is no VM that may be parked');
  assert.equal(parkedOf(three, {}, 0, { failed: { 'http://three:8001': 1 } }), 'two');
  assert.equal(parkedOf(three, { min: 3 }), '3 by the bounds 3 to 3');
  assert.match(parkedOf([vm('one')]), /→ 1$/, 'the last one stays');
  assert.equal(parkedOf(three, { spare: 'zone' }), 'three', 'a and b stay');
  assert.equal(parkedOf(three, { spare: 'zone' }, 2.5), 'too little would stay without a zone');
  assert.equal(parkedOf(three, { spare: 'node' }), 'too little would stay without a node');
  assert.equal(parkedOf([...three, vm('four')], { spare: 'node' }), 'three', 'one and four are of one zone');
});

test('whatever happens, one VM at most moves, never below the minimum, and never in the pause', () => {
  const anyVm = fc.record({
    zone: fc.constantFrom('a', 'b'),
    state: fc.constantFrom('works', 'off', 'drained', 'parked'),
    slots: fc.integer({ min: 1, max: 8 }),
  });
  fc.assert(
    fc.property(
      fc.array(anyVm, { minLength: 1, maxLength: 8 }),
      fc.double({ min: 0, max: 3, noNaN: true }),
      fc.integer({ min: 1, max: 5 }),
      fc.boolean(),
      fc.constantFrom('none' as const, 'node' as const, 'zone' as const),
      (rows, share, min, resting, spare) => {
        const vms = rows.map(({ zone, state, slots: count }, index) =>
          vm(`vm-${index}`, {
            zone,
            ...(state === 'works' ? { slots: count } : { ...off, answers: state === 'drained' }),
            draining: state === 'drained',
          }),
        );
        const parked = vms.filter((_, index) => rows[index]?.state === 'parked');
        const of = memory({ parked, restUntil: resting ? 10 : 0 });
        const working = vms.filter(({ available }) => available);
        const { move } = decide(vms, demand(share), of, { ...RULES, min, spare }, 0);
        if (move.kind === 'hold') return;
        assert.equal(resting, false);
        const { url } = move.vm;
        if (move.kind === 'wake') assert.ok(parked.some((each) => each.url === url));
        else {
          assert.ok(working.some((each) => each.url === url));
          assert.ok(working.length - 1 >= min);
        }
      },
    ),
  );
});

test('after a gap nobody is parked on the strength of one look', () => {
  const rules = { ...RULES, downAfterMs: 600_000 };
  const fleet = [vm('one'), vm('two')];
  const look = (of: Memory, now: number) => decide(fleet, demand(0.1), of, rules, now);
  const before = memory({ history: [{ at: 0, count: 2 }] });
  const hour = 3_600_000;
  const first = look(before, hour);
  assert.equal(first.move.kind, 'hold', 'it was full of work an hour ago');
  const second = look(memory({ history: first.history }), hour + 599_999);
  assert.equal(second.move.kind, 'hold');
  assert.equal(look(memory({ history: second.history }), hour + 600_000).move.kind, 'park');
});

test('what was said before an outage is no reason to park after it', () => {
  const rules = { ...RULES, downAfterMs: 600_000 };
  const fleet = [vm('one'), vm('two')];
  // One was enough at night; since then somebody has woken a second, and nobody knows yet what it draws.
  const night = memory({
    history: [
      { at: 0, count: 1 },
      { at: 15_000, count: 1 },
    ],
  });
  const morning = 8 * 3_600_000;
  const first = decide(fleet, demand(0), night, rules, morning);
  assert.equal(first.move.kind, 'hold');
  const later = memory({ history: first.history });
  assert.equal(decide(fleet, demand(0), later, rules, morning + 599_999).move.kind, 'hold');
  assert.equal(decide(fleet, demand(0), later, rules, morning + 600_000).move.kind, 'park');
});

test('a timer that is slower than down_after parks at its second look', () => {
  const rules = { ...RULES, downAfterMs: 300_000 };
  const fleet = [vm('one'), vm('two')];
  const first = decide(fleet, demand(0.1), NOTHING_YET, rules, 0);
  assert.equal(first.move.kind, 'hold');
  const second = decide(fleet, demand(0.1), memory({ history: first.history }), rules, 900_000);
  assert.equal(second.move.kind, 'park');
});

test('who still sleeps, and who only might', () => {
  const drained = { available: false, slots: 0, draining: true };
  const sleeper = asleep('one');
  const doubtful = { ...sleeper, doubtfulUntil: 100 };
  const moving = { what: 'wake', url: sleeper.url, id: 'one', since: 0 } as const;
  const cases: [string, Memory['parked'][number], Vm[], number, Memory['parked'], Partial<Memory>?][] = [
    ['who is off', sleeper, [vm('one', off)], 0, [sleeper]],
    ['who answers and does not draw yet', sleeper, [vm('one', drained)], 0, [sleeper]],
    ['somebody else woke it', sleeper, [vm('one')], 0, []],
    ['it is being woken', sleeper, [vm('one')], 0, [sleeper], { moving }],
    ['the balancer does not name it now', sleeper, [], 0, [sleeper]],
    ['it draws, and may yet go off', doubtful, [vm('one')], 99, [doubtful]],
    ['it went off in time', doubtful, [vm('one', off)], 99, [sleeper]],
    ['nobody looked in time', doubtful, [vm('one', off)], 500, [sleeper]],
    ['it draws on', doubtful, [vm('one')], 100, []],
    ['an operator has drained it meanwhile', doubtful, [vm('one', drained)], 100, []],
    ['only its agent is silent', doubtful, [vm('one', { answers: false })], 100, []],
  ];
  for (const [why, parked, vms, now, wanted, more] of cases)
    assert.deepEqual(stillAsleep(memory({ parked: [parked], ...more }), vms, now), wanted, why);
});

test('a VM whose park failed and that an operator drained then is not woken', () => {
  const parked = [{ ...asleep('two'), doubtfulUntil: 100 }];
  const fleet = [vm('one'), vm('two', { available: false, slots: 0, draining: true })];
  assert.match(decide(fleet, demand(1), memory({ parked }), RULES, 50).move.words, /there is no VM to wake$/);
});
