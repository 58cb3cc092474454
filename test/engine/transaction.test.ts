/** The outcome of one transaction: certain, or in doubt and settled at its place in the log. */
import { afterAll, expect, test } from 'bun:test';
import { writeBatch } from '../../db/batches-table.ts';
import { systemClock } from '../../db/clock.ts';
import type { Answer, Command } from '../../db/command.ts';
import type { Connection, Settled } from '../../db/connection/connection.ts';
import { settle } from '../../db/engine/in-doubt.ts';
import { LaneStream } from '../../db/engine/stream.ts';
import { type Attempt, transact } from '../../db/engine/transaction.ts';
import { openUntil } from '../support/open.ts';

const open = openUntil(afterAll);
const database_url = await open.database();
const proxy = await open.proxy(database_url);
const direct = await open.connection(database_url);

const BOUNDS = { begin_ms: 5000, lock_ms: 5000, commit_ms: 5000, row_ms: 500, rows_max: 5000 };
/** The truth about an attempt in doubt. */
const truthOf = (attempt: Attempt) =>
  settle(direct, 'place' in attempt ? attempt.place : expect.unreachable(attempt.end), 5000);

/** Appends a movement and locks nothing, so that only the log can prevent it. */
function append(lane: Connection, user_id: string, before = () => {}, stream = newStream()) {
  const movement = { user_id, amount: 1, reason: 'test', order_id: null };
  const command: Command<Answer> = {
    keys: {},
    decide() {
      before();
      const changes = { credit_movements: [movement] };
      return { outcome: { status: 200, body: '{}' }, changes };
    },
  };
  return transact(lane, [{ command, keys: {} }], stream, BOUNDS);
}

const newStream = (idle_ms?: number) => new LaneStream(systemClock, 72, idle_ms);

test.each([
  ['undone', 'late', 'insert into credit_movements', 0],
  ['committed', 'cut_after', 'commit', 1],
] as const)(
  'a transaction in doubt that is settled as %s stays so',
  async (truth, fault, statement, movements) => {
    const user_id = crypto.randomUUID();
    const lane = await open.connection(proxy.database_url);
    // Once without a fault, so that all statements are prepared and later sent together.
    await append(lane, 'warm');
    proxy.disturb = (text) => (text.startsWith(statement) ? fault : 'pass');
    const attempt = await append(lane, user_id);
    proxy.disturb = () => 'pass';
    expect([await truthOf(attempt), await truthOf(attempt)]).toEqual([truth, truth]);
    if (fault === 'late') await Bun.sleep(proxy.late_ms + 200); // the lost COMMIT has arrived
    const found = await direct.sql`select id from credit_movements where user_id = ${user_id}`;
    expect(found.length).toBe(movements);
  },
);

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
  const user_id = crypto.randomUUID();
  const crash = { name: 'PostgresError', code: '08P01', severity: 'FATAL' };
  const crashed = answering(await open.connection(database_url), (settled) =>
    settled.map((_, i) => ({
      status: 'rejected',
      reason: Object.assign(new Error(), i === 0 ? crash : { code: 'CONNECTION_CLOSED' }),
    })),
  );
  expect(await truthOf(await append(crashed, user_id))).toBe('committed');
});

test('a COMMIT with a failed write is a success for no command', async () => {
  const lane = await open.connection(database_url);
  const half = answering(lane, ([_, ...rest]) => [
    { status: 'rejected', reason: new Error('never sent') },
    ...rest,
  ]);
  const results = [{ failure: { code: 'internal' } }];
  expect(await append(half, 'somebody')).toMatchObject({ end: 'committed', results });
  expect(lane.alive).toBe(false);
});

test.each([
  ['commit', 'committed'],
  ['rollback', 'undone'],
] as const)(
  'settling waits for a transaction that is still open: after a %s it is %s',
  async (end, truth) => {
    const place = {
      stream: 7,
      position: end === 'commit' ? 1 : 2,
      id: crypto.randomUUID(),
      opens: false,
      at_us: 1,
      kept_h: 1,
    };
    const { sql } = await open.connection(database_url);
    await sql`begin`;
    for (const statement of writeBatch(sql, place, null)) await statement;
    const settling = settle(direct, place, 5000);
    await sql.unsafe(end);
    expect(await settling).toBe(truth);
  },
);

test('a connection that is lost before the COMMIT is sent is a certain abort', async () => {
  const lane = await open.connection(database_url);
  const { end } = await append(lane, 'somebody', () => lane.destroy());
  expect(end).toBe('aborted');
});

test('a lost connection stays lost', async () => {
  const [left, cut] = [
    await open.connection(database_url),
    await open.connection(proxy.database_url),
  ];
  left.destroy();
  proxy.cutAll();
  for (const lane of [left, cut]) {
    expect((await append(lane, 'somebody')).end).toBe('aborted');
    expect(lane.alive).toBe(false);
    await expect(lane.sql`select 1`.execute()).rejects.toThrow();
  }
});

test('a lane whose stream another lane continues leaves it, and goes on in another', async () => {
  const connection = await open.connection(await open.database());
  const ungated: Connection = Object.create(connection, { gated: { value: false } });
  const [own, hasty] = [newStream(), newStream(0)]; // to the hasty one every stream is idle
  const endIn = async (stream: LaneStream) => (await append(ungated, 'x', () => {}, stream)).end;
  const ends = [await endIn(own), await endIn(hasty), await endIn(own), await endIn(own)];
  expect(ends).toEqual(['committed', 'committed', 'aborted', 'committed']);
  const rows = await connection.sql`select position from batches where stream <> 0`;
  expect(rows.map(({ position }) => position).sort()).toEqual([1, 1, 2]);
});
