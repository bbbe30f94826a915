import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { ToonError } from '../../config/errors.ts';
import type { Priority } from '../schedule/queue.ts';
import { Flights, type Lead, MAX_POISONED, type Turn } from './flight.ts';

const waiting = () => false;
const now = () => new Promise<void>((resolve) => setImmediate(resolve));
const leads = <T>(turn: Turn<T>): Lead<T> => {
  assert.equal(turn.kind, 'lead');
  return turn.kind === 'lead' ? turn.lead : assert.fail();
};

test('one draws and all share it', async () => {
  const flights = new Flights<string>();
  const [first, second, third] = [1, 2, 3].map(() => flights.join('k', 'interactive', waiting));
  const other = flights.join('other', 'interactive', waiting);
  const lead = leads((await first?.turn) ?? assert.fail());
  leads(await other.turn);
  lead.land('picture');
  lead.land('another');
  assert.deepEqual(await second?.turn, { kind: 'shared', value: 'picture' });
  assert.deepEqual(await third?.turn, { kind: 'shared', value: 'picture' });
  assert.equal(flights.size, 1);
  leads(await flights.join('k', 'interactive', waiting).turn);
});

test('a leader that fails hands the lead to the next, and one that left is passed over', async () => {
  const flights = new Flights<string>();
  const [first, second, third, fourth] = [1, 2, 3, 4].map(() => flights.join('k', 'interactive', waiting));
  const lead = leads((await first?.turn) ?? assert.fail());
  second?.leave();
  assert.deepEqual(await second?.turn, { kind: 'left', running: false });
  lead.fail(new ToonError('client_gone'));
  leads((await third?.turn) ?? assert.fail()).land('picture');
  assert.deepEqual(await fourth?.turn, { kind: 'shared', value: 'picture' });
});

test('an answer that is nobody else’s sends each on his own way', async () => {
  const flights = new Flights<string>();
  const [first, second] = [1, 2].map(() => flights.join('k', 'interactive', waiting));
  leads((await first?.turn) ?? assert.fail()).disperse();
  assert.deepEqual(await second?.turn, { kind: 'alone' });
  assert.equal(flights.size, 0);
});

test('a picture on which leaders die is not handed on without end', async () => {
  const flights = new Flights<string>();
  const places = Array.from({ length: 10 }, () => flights.join('k', 'interactive', waiting));
  const error = new ToonError('upstream_failed');
  for (let failed = 0; failed < MAX_POISONED; failed++)
    leads((await places[failed]?.turn) ?? assert.fail()).fail(error);
  for (const { turn } of places.slice(MAX_POISONED)) assert.deepEqual(await turn, { kind: 'failed', error });
});

test('a live user follows no batch leader, batch work follows anybody', async () => {
  const flights = new Flights<string>();
  const batch = leads(await flights.join('k', 'batch', waiting).turn);
  const behindBatch = flights.join('k', 'batch', waiting);
  const live = leads(await flights.join('k', 'interactive', waiting).turn);
  const behindLive = flights.join('k', 'batch', waiting);
  batch.land('slow');
  assert.deepEqual(await behindBatch.turn, { kind: 'shared', value: 'slow' });
  live.land('quick');
  assert.deepEqual(await behindLive.turn, { kind: 'shared', value: 'quick' });
  assert.equal(flights.size, 0);
});

test('who leaves is told whether the picture was on a worker', async () => {
  const flights = new Flights<string>();
  flights.join('k', 'interactive', () => true);
  const place = flights.join('k', 'interactive', waiting);
  place.leave();
  assert.deepEqual(await place.turn, { kind: 'left', running: true });
});

type Step =
  | { readonly kind: 'join'; readonly priority: Priority }
  | { readonly kind: 'leave'; readonly who: number }
  | { readonly kind: 'end'; readonly who: number; readonly how: 'land' | 'disperse' | 'fail' | 'poison' };
const steps = fc.array(
  fc.oneof(
    fc.record({
      kind: fc.constant('join' as const),
      priority: fc.constantFrom<Priority>('interactive', 'batch'),
    }),
    fc.record({ kind: fc.constant('leave' as const), who: fc.nat(20) }),
    fc.record({
      kind: fc.constant('end' as const),
      who: fc.nat(20),
      how: fc.constantFrom('land' as const, 'disperse' as const, 'fail' as const, 'poison' as const),
    }),
  ),
  { maxLength: 60 },
) as fc.Arbitrary<Step[]>;

test('whatever happens each caller gets exactly one turn, and a failure ends nobody’s but by its bound', async () => {
  await fc.assert(
    fc.asyncProperty(steps, async (script) => {
      const flights = new Flights<number>();
      const turns: Turn<number>[][] = [];
      const places: { leave(): void }[] = [];
      const classes: Priority[] = [];
      const leading = new Map<number, Lead<number>>();
      let poisoned = 0;
      const finish = async (who: number, how: 'land' | 'disperse' | 'fail' | 'poison') => {
        const lead = leading.get(who);
        if (!lead) return;
        leading.delete(who);
        if (how === 'land') lead.land(who);
        else if (how === 'disperse') lead.disperse();
        else {
          poisoned += how === 'poison' ? 1 : 0;
          lead.fail(how === 'poison' ? new ToonError('upstream_failed') : new Error('gone'));
        }
        await now();
      };
      for (const step of script) {
        if (step.kind === 'join') {
          const own: Turn<number>[] = [];
          const who = turns.push(own) - 1;
          const place = flights.join('k', step.priority, waiting);
          places.push(place);
          classes.push(step.priority);
          void place.turn.then((turn) => {
            own.push(turn);
            if (turn.kind === 'lead') leading.set(who, turn.lead);
          });
          await now();
        } else if (step.kind === 'leave') {
          places[step.who]?.leave();
          await now();
        } else await finish(step.who, step.how);
        // Equal wishes of live users are drawn once, and nobody waits without a leader.
        const live = [...leading.keys()].filter((who) => classes[who] === 'interactive');
        assert.ok(live.length <= 1, `${live.length} leaders`);
        if (leading.size === 0) for (const own of turns) assert.equal(own.length, 1);
      }
      while (leading.size > 0) for (const who of [...leading.keys()]) await finish(who, 'land');
      for (const own of turns) assert.equal(own.length, 1);
      const failed = turns.flat().filter(({ kind }) => kind === 'failed').length;
      if (failed > 0) assert.ok(poisoned >= MAX_POISONED);
      assert.equal(flights.size, 0);
    }),
    { numRuns: 300 },
  );
});
