/** The outcome of one transaction: certain, or in doubt and settled by its marker. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import type { Answer, Command } from '../../db/command.ts';
import type { Connection, Settled } from '../../db/connection/connection.ts';
import { settle } from '../../db/engine/in-doubt.ts';
import { transact } from '../../db/engine/transaction.ts';
import type { Work } from '../../db/engine/work.ts';
import type { Marker } from '../../db/operations-table.ts';
import { connect, newDatabase } from '../support/kassa.ts';
import { type StoreProxy, startProxy } from '../support/proxy.ts';

const newMarker = (): Marker => ({ service: 'payment', id: crypto.randomUUID() });
const TIMEOUTS = { begin_ms: 5000, lock_ms: 5000, commit_ms: 5000, row_ms: 500, rows_max: 5000 };
let database: Awaited<ReturnType<typeof newDatabase>>;
let proxy: StoreProxy;
let direct: Connection;

beforeAll(async () => {
  database = await newDatabase();
  proxy = await startProxy(database.database_url);
  direct = await connect(database.database_url);
});
afterAll(async () => {
  await direct.close();
  await proxy.close();
  await database.drop();
});

/** Appends a movement and locks nothing, so that only the marker can prevent it. */
function append(user_id: string): Work {
  const movement = { user_id, amount: 1, reason: 'test', order_id: null };
  const command: Command<Answer> = {
    keys: {},
    decide: () => ({
      outcome: { status: 200, body: '{}' },
      changes: { credit_movements: [movement] },
    }),
  };
  return { command, keys: {} };
}

const movementsOf = async (user_id: string): Promise<number> => {
  const rows = await direct.sql`select id from credit_movements where user_id = ${user_id}`;
  return rows.length;
};

test('writes that arrive after the transaction was settled as undone have no effect', async () => {
  const lane = await connect(proxy.database_url);
  const user_id = crypto.randomUUID();
  const marker = newMarker();
  // Once without a fault, so that all statements are prepared and later sent together.
  await transact(lane, [append('warm')], newMarker(), TIMEOUTS);
  proxy.late_ms = 300;
  proxy.disturb = (text) => (text.startsWith('insert into credit_movements') ? 'late' : 'pass');
  const attempt = await transact(lane, [append(user_id)], marker, TIMEOUTS);
  expect(attempt.end).toBe('ambiguous');
  expect(await settle(direct, marker, 5000)).toBe('undone');
  expect(await settle(direct, marker, 5000)).toBe('undone');
  await Bun.sleep(500); // by now the lost writes and their COMMIT have arrived
  expect(await movementsOf(user_id)).toBe(0);
  proxy.disturb = () => 'pass';
});

test('a transaction that committed is settled as committed, however often', async () => {
  const lane = await connect(proxy.database_url);
  const user_id = crypto.randomUUID();
  const marker = newMarker();
  proxy.disturb = (text) => (text === 'commit' ? 'cut_after' : 'pass');
  const attempt = await transact(lane, [append(user_id)], marker, TIMEOUTS);
  expect(attempt.end).toBe('ambiguous');
  proxy.disturb = () => 'pass';
  expect(await settle(direct, marker, 5000)).toBe('committed');
  expect(await settle(direct, marker, 5000)).toBe('committed');
  expect(await movementsOf(user_id)).toBe(1);
});

/** Replaces the server's answers to the round trip of a COMMIT. */
const answering = (lane: Connection, how: (settled: Settled[]) => Settled[]): Connection =>
  Object.create(lane, {
    alive: { get: () => lane.alive },
    roundTrip: {
      async value(...args: Parameters<Connection['roundTrip']>) {
        const settled = await lane.roundTrip(...args);
        const last = settled.at(-1);
        const ends = last?.status === 'fulfilled' && last.value.command === 'COMMIT';
        return ends ? how(settled) : settled;
      },
    },
  });

test('an error of a failing pooler leaves the transaction in doubt: the server may have committed', async () => {
  const lane = await connect(database.database_url);
  const [user_id, marker] = [crypto.randomUUID(), newMarker()];
  const crash = { name: 'PostgresError', code: '08P01', severity: 'FATAL' };
  const crashed = answering(lane, (settled) =>
    settled.map((_, i) => ({
      status: 'rejected',
      reason: Object.assign(new Error(), i === 0 ? crash : { code: 'CONNECTION_CLOSED' }),
    })),
  );
  expect((await transact(crashed, [append(user_id)], marker, TIMEOUTS)).end).toBe('ambiguous');
  expect(await settle(direct, marker, 5000)).toBe('committed');
});

test('a COMMIT with a failed write is a success for no command', async () => {
  const lane = await connect(database.database_url);
  const half = answering(lane, ([_, ...rest]) => [
    { status: 'rejected', reason: new Error('never sent') },
    ...rest,
  ]);
  const attempt = await transact(half, [append(crypto.randomUUID())], newMarker(), TIMEOUTS);
  expect(attempt).toMatchObject({ end: 'committed', results: [{ failure: { code: 'internal' } }] });
  expect(lane.alive).toBe(false);
  await lane.close();
});

test('settling waits for a transaction that is still open, and finds out how it ends', async () => {
  for (const [last, truth] of [
    ['commit', 'committed'],
    ['rollback', 'undone'],
  ] as const) {
    const marker = newMarker();
    const open = await connect(database.database_url);
    await open.sql`begin`;
    await open.sql`insert into payment_operations (key, fingerprint, status, answer, expires_at)
      values (${`t:${marker.id}`}, 'committed', 0, '', now() + interval '1 hour')`;
    const settling = settle(direct, marker, 5000);
    await open.sql.unsafe(last);
    expect(await settling).toBe(truth);
    await open.close();
  }
});

test('a server error before the COMMIT is a certain abort', async () => {
  const lane = await connect(database.database_url);
  const user_id = crypto.randomUUID();
  const bad = append(user_id);
  bad.command.decide = () => ({
    outcome: { status: 200, body: '{}' },
    changes: {
      credit_movements: [{ user_id, amount: 1, reason: 'test', order_id: null }],
      orders: [{ id: user_id, user_id, paid: false, total_cost: 0, payment: 0, lines: [] }],
    },
  });
  const attempt = await transact(lane, [bad], newMarker(), TIMEOUTS);
  expect(attempt).toMatchObject({ end: 'aborted', error: { code: '23514' } });
  expect(await movementsOf(user_id)).toBe(0);
  const next = await transact(lane, [append(user_id)], newMarker(), TIMEOUTS);
  expect(next.end).toBe('committed');
  expect(await movementsOf(user_id)).toBe(1);
  await lane.close();
});

test('a connection that is lost before the COMMIT is sent is a certain abort', async () => {
  const lane = await connect(database.database_url);
  const { command, keys } = append(crypto.randomUUID());
  const losing: Command<Answer> = {
    ...command,
    decide(rows) {
      lane.destroy();
      return command.decide(rows);
    },
  };
  const attempt = await transact(lane, [{ command: losing, keys }], newMarker(), TIMEOUTS);
  expect(attempt.end).toBe('aborted');
});

test('a lost connection stays lost', async () => {
  const lane = await connect(database.database_url);
  lane.destroy();
  expect(lane.alive).toBe(false);
  const attempt = await transact(lane, [append('x')], newMarker(), TIMEOUTS);
  expect(attempt.end).toBe('aborted');
  await expect(lane.sql`select 1`.execute()).rejects.toThrow();

  const cut = await connect(proxy.database_url);
  proxy.cutAll();
  expect((await transact(cut, [append('x')], newMarker(), TIMEOUTS)).end).toBe('aborted');
  expect(cut.alive).toBe(false);
  await expect(cut.sql`select 1`.execute()).rejects.toThrow();
});
