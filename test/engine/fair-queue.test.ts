/** The queue: principals in turn, and a share of it for each of them. */
import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { readConfig, storeOptions } from '../../apps/runtime/config.ts';
import { systemClock } from '../../db/clock.ts';
import { hasRoom, takeBatch } from '../../db/engine/batch.ts';
import { BatchShare } from '../../db/engine/batch-share.ts';
import { CommandQueue } from '../../db/engine/command-queue.ts';
import { Prefetch } from '../../db/engine/prefetch.ts';
import { Room } from '../../db/engine/room.ts';
import type { Entry } from '../../db/engine/work.ts';
import { silentMeter } from '../../db/meter.ts';
import { storeUrl } from '../support/databases.ts';

const usual = storeOptions(readConfig({}), storeUrl(), 'test');
const decide = () => ({ outcome: { status: 200, body: '' } });

interface Shape {
  principal?: string;
  rows?: number;
  group?: number;
  at?: number;
}

function entry({ principal, rows = 1, group = 0, at = 0 }: Shape): Entry {
  const keys = { users: Array.from({ length: rows }, (_, i) => `u${i}`) };
  const answers = { resolve() {}, reject() {} };
  const known = { keys, principal: principal || undefined, arrived_at: at, deadline_at: at };
  return { command: { keys, decide }, ...known, lines: 0, stalls: 0, group, ...answers };
}

const principalOf = ({ principal = '' }: Entry): string => principal;
const of = (entries: readonly Entry[], principal: string) =>
  entries.filter((one) => principalOf(one) === principal);
const filled = (entries: readonly Entry[]): CommandQueue => {
  const queue = new CommandQueue();
  for (const one of entries) queue.push(one);
  return queue;
};
const flood = (principal: string, count: number, shape: Shape = {}) =>
  Array.from({ length: count }, () => entry({ principal, ...shape }));

const tally = (names: readonly string[]) =>
  Object.fromEntries(
    [...Map.groupBy(names, (name) => name)].map(([name, all]) => [name, all.length]),
  );

const NAMES = ['', 'a', 'b', 'c'];
const principal = fc.constantFrom(...NAMES);
const step = fc.oneof(
  fc.record({ do: fc.constant('push' as const), principal, rows: fc.integer({ min: 0, max: 9 }) }),
  fc.record({
    do: fc.constant('take' as const),
    max: fc.integer({ min: 1, max: 6 }),
    each: fc.integer({ min: 1, max: 6 }),
  }),
  fc.record({ do: fc.constant('putBack' as const), part: fc.nat(3) }),
  fc.record({ do: fc.constant('remove' as const), principal, place: fc.nat(9) }),
  fc.record({ do: fc.constant('expire' as const), ago: fc.integer({ min: 1, max: 30 }) }),
);

test('no command is lost or doubled, and each principal keeps its order', () => {
  const history = (steps: readonly (typeof step extends fc.Arbitrary<infer S> ? S : never)[]) => {
    const queue = new CommandQueue();
    /** What waits, for each principal in order. */
    const model = new Map<string, Entry[]>(NAMES.map((name) => [name, []]));
    let last: Entry[] = [];
    for (const [now, one] of steps.entries()) {
      if (one.do === 'push') {
        const added = entry({ ...one, at: now });
        queue.push(added);
        model.get(one.principal)?.push(added);
      } else if (one.do === 'remove') {
        const [gone] = model.get(one.principal)?.splice(one.place, 1) ?? [];
        queue.remove(gone ?? entry({ principal: one.principal }));
        if (gone) queue.remove(gone);
      } else if (one.do === 'putBack') {
        const back = last.filter((_, i) => i % (one.part + 1) === 0);
        last = [];
        queue.putBack(back);
        for (const name of NAMES) model.get(name)?.unshift(...of(back, name));
      } else {
        const [batch_max, each_max] = one.do === 'take' ? [one.max, one.each] : [1, 1];
        const limits = { ...usual, batch_max, batch_rows_max: 12 };
        const gone =
          one.do === 'take' ? takeBatch(queue, limits, each_max) : queue.takeExpired(now - one.ago);
        if (one.do === 'take') last = gone;
        else expect(gone.every(({ deadline_at }) => deadline_at <= now - one.ago)).toBe(true);
        for (const name of NAMES) {
          const own = of(gone, name);
          expect(model.get(name)?.splice(0, own.length)).toEqual(own);
        }
      }
      const waiting = [...model.values()];
      expect(queue.length).toBe(waiting.flat().length);
      expect(queue.principals).toBe(waiting.filter(({ length }) => length > 0).length);
      for (const name of NAMES) {
        const own = model.get(name) ?? [];
        const rows = own.reduce((sum, { keys }) => sum + (keys.users?.length ?? 0), 0);
        const known = name === '' ? undefined : name;
        expect([queue.callsOf(known), queue.rowsOf(known)]).toEqual([own.length, rows]);
      }
    }
  };
  fc.assert(fc.property(fc.array(step, { maxLength: 80 }), history), { numRuns: 500 });
});

test("a principal's k-th command leaves in the k-th round, however many others have", () => {
  const counts = fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 8 });
  fc.assert(
    fc.property(counts, fc.integer({ min: 1, max: 20 }), (all, batch_max) => {
      const queue = filled(all.flatMap((count, i) => flood(`p${i}`, count)));
      const left: Entry[] = [];
      while (queue.length > 0) left.push(...takeBatch(queue, { ...usual, batch_max }));
      for (const [i, count] of all.entries()) {
        const places = left.flatMap((one, place) => (principalOf(one) === `p${i}` ? [place] : []));
        expect(places.length).toBe(count);
        for (const [k, place] of places.entries()) expect(place).toBeLessThan((k + 1) * all.length);
      }
    }),
  );
});

test('commands of nobody leave in order of arrival, in batches as large as the limits allow', () => {
  const rows = fc.array(fc.integer({ min: 0, max: 9 }), { maxLength: 60 });
  fc.assert(
    fc.property(rows, fc.integer({ min: 1, max: 9 }), (all, batch_max) => {
      const arrived = all.map((rows) => entry({ rows }));
      const queue = filled(arrived);
      const limits = { ...usual, batch_max, batch_rows_max: 12 };
      while (queue.length > 0) {
        const batch = takeBatch(queue, limits);
        expect(batch).toEqual(arrived.splice(0, batch.length));
        const sum = batch.reduce((rows, { keys }) => rows + (keys.users?.length ?? 0), 0);
        const next = arrived[0]?.keys.users?.length ?? Number.POSITIVE_INFINITY;
        expect(batch.length === 1 || sum <= 12).toBe(true);
        expect(batch.length === batch_max || sum + next > 12).toBe(true);
      }
    }),
  );
});

test('while two principals call, one fills no whole batch; alone, and where nobody has a name, it does', () => {
  let is_gated = true;
  const share = new BatchShare({ pipeline_min: 4 }, () => is_gated);
  const batch = (queue: CommandQueue, now: number) =>
    tally(takeBatch(queue, { ...usual, batch_max: 40 }, share.each_max(now)).map(principalOf));
  share.note(undefined, 0);
  expect(batch(filled(flood('', 50)), 1)).toEqual({ '': 40 });
  const queue = filled(flood('a', 200));
  const batchAt = (now: number) => {
    share.note('a', now);
    return batch(queue, now);
  };
  expect([batchAt(1500), batchAt(2000)]).toEqual([{ a: 40 }, { a: 40 }]);
  share.note('b', 2000);
  queue.push(entry({ principal: 'b' }));
  expect([batch(queue, 2000), batchAt(2099)]).toEqual([{ a: 4, b: 1 }, { a: 4 }]);
  expect([batchAt(2100), batchAt(2999)]).toEqual([{ a: 16 }, { a: 16 }]);
  expect(batchAt(3000)).toEqual({ a: 40 });
  is_gated = false;
  share.note('b', 4000);
  expect(batchAt(4000)).toEqual({ a: 16 });
});

test('a principal that has given its part of a batch comes behind the others', () => {
  const queue = filled([...flood('a', 9), ...flood('b', 9)]);
  const take = (each_max: number) => queue.take(6, () => true, { each_max }).map(principalOf);
  expect(take(2)).toEqual(['a', 'b', 'a', 'b']);
  queue.push(entry({ principal: 'c' }));
  expect(take(2)).toEqual(['a', 'b', 'c', 'a', 'b']);
  expect(queue.length).toBe(10);
});

test('a command that is too large for a batch delays nobody, and is the first of the next', () => {
  const limits = { ...usual, batch_max: 10, batch_rows_max: 12 };
  const queue = filled([...flood('large', 3, { rows: 12 }), ...flood('small', 9)]);
  const batches = Array.from({ length: 4 }, () => takeBatch(queue, limits).map(principalOf));
  const smalls = Array.from({ length: 9 }, () => 'small');
  expect(batches).toEqual([['large'], smalls, ['large'], ['large']]);
  const busy = filled([...flood('small', 100), ...flood('large', 1, { rows: 12 })]);
  expect(takeBatch(busy, limits).length).toBe(10);
  expect(takeBatch(busy, limits).map(principalOf)).toEqual(['large']);
});

test('commands that are put back are the next, and principals they belong to come first', () => {
  const queue = filled([...flood('a', 2), ...flood('b', 2), ...flood('c', 2)]);
  const [a, b] = queue.take(2, () => true) as [Entry, Entry];
  queue.putBack([b, a]);
  expect(queue.take(3, () => true)).toEqual([b, a, expect.anything()]);
});

test('the commands of a batch that stalled go together, and with no others', () => {
  const queue = filled([...flood('a', 2), ...flood('b', 2), ...flood('c', 2)]);
  const stalled = ['a', 'b', 'a', 'b', 'b'].map((principal) => entry({ principal, group: 7 }));
  queue.putBack(stalled);
  expect(new Set(takeBatch(queue, usual))).toEqual(new Set(stalled));
  expect(takeBatch(queue, usual).length).toBe(6);
});

test('each principal has its share of what is prefetched, and one without anything always has', () => {
  const limits = { ...usual, batch_rows_max: 50 };
  const queue = filled(flood('a', 99));
  expect([hasRoom(queue, 'a', limits), hasRoom(queue, 'b', limits)]).toEqual([true, true]);
  queue.push(entry({ principal: 'a' }));
  expect([hasRoom(queue, 'a', limits), hasRoom(queue, 'b', limits)]).toEqual([false, true]);
  for (const one of flood('b', 50)) queue.push(one);
  expect([hasRoom(queue, 'b', limits), hasRoom(queue, 'c', limits)]).toEqual([false, true]);
});

test('a named principal leaves as many places and rows as it takes; nobody may take all', () => {
  /** Queues commands of these principals until each is refused. @returns how many each has */
  const fill = (names: readonly (string | undefined)[], rows: number) => {
    const room = new Room({ ...usual, queue_max: 120, queue_rows_max: 1200 });
    const queue = new CommandQueue();
    const refused = new Set<string | undefined>();
    while (refused.size < names.length) {
      for (const name of names) {
        const waiting = { queued: queue.length, own: queue.callsOf(name) };
        if (room.whyFull(rows, name, waiting)) refused.add(name);
        else {
          room.add(rows, name);
          queue.push(entry({ ...(name && { principal: name }), rows }));
        }
      }
    }
    return names.map((name) => queue.callsOf(name));
  };
  expect(fill(['a'], 1)).toEqual([60]);
  expect(fill(['a', 'b'], 1)).toEqual([40, 40]);
  expect(fill(['a', 'b', 'c'], 1)).toEqual([30, 30, 30]);
  expect(fill([undefined], 1)).toEqual([120]);
  expect(fill(['a'], 100)).toEqual([6]);
  expect(fill(['a', 'b'], 100)).toEqual([4, 4]);
  expect(fill([undefined], 100)).toEqual([12]);
});

test('a principal whose commands were answered may queue as many again', () => {
  const room = new Room({ ...usual, queue_rows_max: 100 });
  const waiting = { queued: 0, own: 0 };
  for (let i = 0; i < 1000; i++) {
    room.add(50, 'a');
    expect(room.whyFull(1, 'a', waiting)).toBeString();
    expect(room.whyFull(50, 'b', waiting)).toBeUndefined();
    room.add(-50, 'a');
  }
  expect(room.whyFull(100, 'a', waiting)).toBeUndefined();
});

test('however many principals there are, no more is read ahead than three batches need', () => {
  const queue = new CommandQueue();
  const { batch_rows_max } = usual;
  let admitted = 0;
  for (let i = 0; i < 2000; i++) {
    const principal = `p${i}`;
    if (!hasRoom(queue, principal, usual)) continue;
    const one = entry({ principal, rows: 1000 });
    queue.push({ ...one, command: { ...one.command, prefetch: 'an order' } });
    admitted++;
  }
  expect(admitted * 1000).toBeWithin(2 * batch_rows_max, 3 * batch_rows_max + 2000);
  for (const one of takeBatch(queue, usual)) expect(one).toBeDefined();
  expect(hasRoom(queue, 'next', usual)).toBe(true);
});

test('a batch that is full does not ask all the others', () => {
  const large = Array.from({ length: 1500 }, (_, i) => entry({ principal: `p${i}`, rows: 6000 }));
  const queue = filled(large);
  const asked = new Set<Entry>();
  for (const one of large) {
    const { keys } = one;
    const get = () => {
      asked.add(one);
      return keys;
    };
    Object.defineProperty(one, 'keys', { get });
  }
  expect(takeBatch(queue, usual)).toHaveLength(1);
  expect([asked.size, queue.length]).toEqual([1001, 1499]);
});

test('principals without room do not hide the one behind them that has some', () => {
  const waiting = filled([
    ...Array.from({ length: 2000 }, (_, i) => entry({ principal: `full${i}` })),
    entry({ principal: 'one' }),
  ]);
  const taken = waiting.take(512, (one) => principalOf(one) === 'one');
  expect(taken.map(principalOf)).toEqual(['one']);
});

test('a read ahead takes no more of one principal than a batch, in turn', async () => {
  const asked: number[] = [];
  const { promise, resolve } = Promise.withResolvers<Map<string, object>>();
  const prefetch = new Prefetch(
    {
      prefetch(ids) {
        asked.push(ids.length);
        return promise;
      },
      ...{ onRead() {}, hasRoom: () => true, isFull: () => false, hasIdleLane: () => false },
      ...{ each_max: () => 16, log() {}, clock: systemClock, meter: silentMeter },
    },
    { ...usual, pipeline_min: 1000 },
  );
  for (const one of [...flood('a', 50), ...flood('b', 1)]) prefetch.add(one);
  prefetch.flush();
  resolve(new Map());
  await promise;
  expect(asked).toEqual([17]);
});
