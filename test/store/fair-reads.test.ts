/** Reads: those of one caller leave turns, and a place in the queue, to the others. */
import { expect, test } from 'bun:test';
import { CALLS } from '../../apps/contract/calls.ts';
import { SCOPES } from '../../apps/contract/scopes.ts';
import { eventRoutes } from '../../apps/events/routes.ts';
import { ScopeGuard } from '../../apps/http/guard.ts';
import { collectMetrics } from '../../apps/http/metrics.ts';
import { serveRoutes } from '../../apps/http/server.ts';
import { orderRoutes } from '../../apps/order/routes.ts';
import { paymentRoutes } from '../../apps/payment/routes.ts';
import { stockRoutes } from '../../apps/stock/routes.ts';
import type { ReadPool } from '../../db/connection/pool.ts';
import { Failure } from '../../db/failure.ts';
import { silentMeter } from '../../db/meter.ts';
import type { WantedEvents } from '../../db/reads/events.ts';
import { type Lists, lists } from '../../db/reads/lists.ts';
import type { ByTime } from '../../db/reads/page.ts';
import { ReadBatcher } from '../../db/reads/read-batcher.ts';
import { oneOfEach, turns } from '../../db/reads/turns.ts';
import type { Store } from '../../db/store.ts';
import type { PrincipalName } from '../../db/tally.ts';
import { FakeClock } from '../support/fake-clock.ts';

const FAR = 60_000;
/** After everything that waits for nothing but its turn. */
const settled = () => new Promise<void>((resolve) => setImmediate(() => setImmediate(resolve)));

/** Reads that take turns, and end when they are told to. */
function stage(most: { room: number; nobody_max?: number; waiting?: number }) {
  const clock = new FakeClock();
  const inTurn = turns({ waiting: 100, refusal: 'too many', ...most }, clock);
  const running: { name: string; end(): void }[] = [];
  let begun = 0;
  const read = (name: string, principal: PrincipalName, size = 1, deadline_at = FAR) =>
    inTurn({ principal, size, deadline_at }, () => {
      begun++;
      return new Promise<void>((resolve) => {
        const mine = { name, end: () => resolve(void running.splice(running.indexOf(mine), 1)) };
        running.push(mine);
      });
    }).catch(({ code, detail }) => `${code}: ${detail}`);
  const names = () => running.map(({ name }) => name).join(' ');
  const end = (name: string) => {
    running.find((one) => one.name === name)?.end();
    return settled();
  };
  return { read, names, end, begun: () => begun, advance: (ms: number) => clock.advance(ms) };
}

test('a caller alone has half of the room, others find some of the rest, and none takes all', () => {
  const { read, names } = stage({ room: 8 });
  for (let i = 0; i < 9; i++) void read('a', 'a');
  expect(names()).toBe('a a a a');
  for (let i = 0; i < 9; i++) void read('b', 'b');
  void read('c', 'c');
  expect(names()).toBe('a a a a b b c');
});

test('nobody has all of the room, where no part of it is set', () => {
  const begun = (nobody_max?: number) => {
    const { read, names } = stage({ room: 8, ...(nobody_max && { nobody_max }) });
    for (let i = 0; i < 2; i++) void read('a', 'a');
    for (let i = 0; i < 9; i++) void read('-', undefined);
    return names();
  };
  expect([begun(), begun(3)]).toEqual(['a a - - - - - -', 'a a - - -']);
});

test('a large read takes the room of several, and does not wait for all of it', () => {
  const { read, names } = stage({ room: 8 });
  for (const name of ['a', 'b', 'c']) void read(name, name, 3);
  void read('a', 'a');
  expect(names()).toBe('a b c');
  void read('d', 'd');
  expect(names()).toBe('a b c');
});

test('room that is left goes to callers in turn, and to the reads of each in order', async () => {
  const { read, names, end } = stage({ room: 1 });
  for (const name of ['a1', 'a2', 'a3', 'b1', 'b2', 'c1']) void read(name, name[0]);
  const order: string[] = [];
  for (let left = 6; left > 0; left--) {
    order.push(names());
    await end(names());
  }
  expect(order).toEqual(['a1', 'a2', 'b1', 'c1', 'a3', 'b2']);
});

test('a read that fails leaves its room, and one whose turn does not come by its deadline is refused', async () => {
  const inTurn = turns({ room: 1, waiting: 9, refusal: 'too many' });
  const caller = { principal: 'a', deadline_at: Infinity };
  await expect(inTurn(caller, () => Promise.reject(new Error('broken')))).rejects.toThrow('broken');
  const { read, names, end, begun, advance } = stage({ room: 1 });
  void read('a', 'a');
  const late = read('late', 'b', 1, 5);
  advance(4);
  expect(Bun.peek.status(late)).toBe('pending');
  advance(1);
  expect(await late).toBe('overloaded: too many');
  void read('b', 'b');
  await end('a');
  expect([names(), begun()]).toEqual(['b', 2]);
});

test('a caller with a name leaves as many places to wait as it takes; nobody may take all', async () => {
  /** @returns how many of so many reads were refused at once */
  const refused = async (principals: readonly PrincipalName[]) => {
    const { read } = stage({ room: 1, waiting: 8 });
    void read('first', 'first');
    const counts = new Map<PrincipalName, number>();
    for (const principal of principals) {
      for (let i = 0; i < 20; i++) {
        void read('-', principal).then(() =>
          counts.set(principal, (counts.get(principal) ?? 0) + 1),
        );
      }
    }
    await settled();
    return principals.map((principal) => 20 - (counts.get(principal) ?? 0));
  };
  expect(await refused(['a', 'b', 'c'])).toEqual([4, 2, 1]);
  expect(await refused([undefined])).toEqual([8]);
});

test('reads of one owner run one at a time, and those of others beside them', async () => {
  const ofOne = oneOfEach({ waiting: 1, refusal: 'too many of one' });
  const begun: string[] = [];
  const ends = new Map<string, () => void>();
  const read = (owner: string, name: string) =>
    ofOne(owner, Infinity, () => {
      begun.push(name);
      return new Promise<void>((resolve) => ends.set(name, resolve));
    });
  for (const name of ['ada1', 'ada2', 'bob1']) void read(name.slice(0, 3), name);
  await expect(read('ada', 'ada3')).rejects.toThrow('too many of one');
  expect(begun).toEqual(['ada1', 'bob1']);
  ends.get('ada1')?.();
  await settled();
  expect(begun).toEqual(['ada1', 'bob1', 'ada2']);
});

test.each([
  ['a caller', 'a', [2, 4, 16]],
  ['nobody', undefined, [4, 8, 32]],
] as const)(
  '%s alone reads at once so many pages, and half of all statements',
  (_, principal, pages) => {
    /** @returns how many of a hundred are read at once */
    const begun = (read: (list: Lists, i: number) => Promise<unknown>): number => {
      let count = 0;
      const pool = { read: () => new Promise(() => count++) } as unknown as ReadPool;
      const list = lists(pool, 60_000, 2);
      for (let i = 0; i < 100; i++) read(list, i).catch(() => {});
      return count;
    };
    const by = principal === undefined ? {} : { principal };
    const users = (limit: number) => (list: Lists) => list.users({ limit, after: [''], ...by });
    expect([begun(users(1000)), begun(users(500)), begun(users(125))]).toEqual([...pages]);
    expect(begun(users(1))).toBe(pages[2]);
    const newest: ByTime = [1, ''];
    const page = { limit: 1, after: newest, ...by };
    expect(begun((list, i) => list.stockMovements(`item-${i}`, page))).toBe(2);
    expect(begun((list) => list.stockMovements('item', page))).toBe(1);
  },
);

/** A batcher whose statements are answered, or time out on a lock, when they are told to. */
function batcher(limits: { ids_max?: number; queue_max?: number } = {}) {
  const statements: { ids: string; answer(): Promise<void>; block(): Promise<void> }[] = [];
  async function* find(ids: readonly string[]) {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const answer = () => {
      resolve();
      return settled();
    };
    const block = () => {
      reject(new Failure('contention', 'held'));
      return settled();
    };
    statements.push({ ids: ids.join(' '), answer, block });
    await promise;
    yield ids.map((id) => ({ id }));
  }
  const all = { ids_max: 4, queue_max: 100, deadline_ms: 60_000, ...limits };
  const reads = new ReadBatcher(find, all, () => undefined, silentMeter);
  const asked = () => statements.map(({ ids }) => ids);
  const read = (ids: string, principal: PrincipalName) =>
    Promise.all(ids.split(' ').map((id) => reads.read(id, principal)));
  return { read, asked, statements };
}

test('a caller has two statements at once, and another finds a third', async () => {
  const { read, asked, statements } = batcher();
  const flood = read('a1 a2 a3 a4 a5 a6 a7 a8 a9', 'a');
  await settled();
  expect(asked()).toEqual(['a1 a2 a3 a4', 'a5 a6 a7 a8']);
  const one = read('b1', 'b');
  await settled();
  expect(asked()).toEqual(['a1 a2 a3 a4', 'a5 a6 a7 a8', 'b1']);
  await statements[2]?.answer();
  expect((await one)[0]).toEqual({ id: 'b1' });
  await statements[0]?.answer();
  expect(asked()[3]).toBe('a9');
  for (const { answer } of statements) await answer();
  expect((await flood).length).toBe(9);
});

test('a statement takes the reads of callers in turn, and those of each in order', async () => {
  const { read, asked, statements } = batcher();
  const all = [read('a1 a2 a3 a4 a5', 'a'), read('b1', 'b'), read('c1 c2', 'c')];
  await settled();
  expect(asked()).toEqual(['a1 b1 c1 a2', 'c2 a3 a4 a5']);
  all.push(read('a6 a7', 'a'), read('d1', 'd'), read('b2', 'b'));
  await settled();
  expect(asked().slice(2)).toEqual(['d1']);
  await statements[1]?.answer();
  await statements[0]?.answer();
  expect(asked().slice(3)).toEqual(['a6 b2 a7']);
  for (const { answer } of statements) await answer();
  await Promise.all(all);
});

test('a caller with a name may fill half of the queue, and nobody all of it', async () => {
  const waiting = async (principal: PrincipalName) => {
    const { read } = batcher({ queue_max: 10 });
    let refused = 0;
    for (let i = 0; i < 50; i++) void read(`r${i}`, principal).catch(() => refused++);
    await settled();
    return 50 - refused;
  };
  expect([await waiting('a'), await waiting(undefined)]).toEqual([5, 10]);
});

test("a caller's reads of held rows count in its half of the queue until they are answered", async () => {
  const { read, statements } = batcher({ queue_max: 10 });
  const refused = new Set<string>();
  const ask = async (ids: string, principal: string) => {
    for (const id of ids.split(' ')) void read(id, principal).catch(() => refused.add(id));
    await settled();
  };
  await ask('a1 a2 a3 a4', 'a');
  await statements[0]?.block();
  await ask('a5 a6 a7', 'a');
  expect([...refused]).toEqual(['a6', 'a7']);
  await ask('b1 b2 b3', 'b');
  expect([...refused]).toEqual(['a6', 'a7']);
  for (let i = 1; i < statements.length; i++) await statements[i]?.answer();
  await ask('a8 a9 a10 a11 a12', 'a');
  expect([...refused]).toEqual(['a6', 'a7']);
});

/** A store whose reads only note who asks. */
function notingStore() {
  const asked: unknown[] = [];
  const read = (...args: readonly unknown[]) => {
    const named = args.map((one) => (one as WantedEvents)?.principal ?? one);
    asked.push(named.includes('test:one') ? 'test:one' : named);
    return Promise.reject(new Failure('not_ready', 'it only notes'));
  };
  const list = new Proxy({}, { get: () => read });
  const reads = new Proxy({ list }, { get: (of, name) => (name === 'list' ? of.list : read) });
  const events = { read, oldest: async () => ({}), join: () => () => {}, release() {} };
  return { asked, store: { read: reads, events } as unknown as Store };
}

const reading = CALLS.filter(
  ({ methods, writes, tag }) =>
    methods.includes('GET') && !writes && !['health', 'webhooks', 'keys'].includes(tag),
).map((call) => [`${call.tag}.${call.name}`, call] as const);

test.each(reading)('%s takes the turn of its caller', async (_, { path }) => {
  const { asked, store } = notingStore();
  const metrics = collectMetrics('test', 'test');
  for (const user_id of [undefined, 'ada']) {
    const principal = { name: 'test:one', scopes: new Set(SCOPES), user_id };
    const guard = new ScopeGuard(() => principal, store.read);
    const routes = [orderRoutes, eventRoutes, paymentRoutes, stockRoutes].map((make) =>
      make(store, { batch_init: false }),
    );
    const { fetch } = serveRoutes(routes, store, metrics, () => {}, { guard });
    const target = path.replace('{user_id}', 'ada').replaceAll(/\{\w+\}/g, 'one');
    await fetch(new Request(`http://kassa${target}`));
  }
  expect(asked.length).toBeGreaterThan(0);
  expect(new Set(asked)).toEqual(new Set(['test:one']));
});
