/**
 * On CockroachDB changed rows are written with UPSERT, with the same effect as UPDATE on
 * PostgreSQL.
 */
import { expect, test } from 'bun:test';
import { getTableName } from 'drizzle-orm';
import { getTableConfig } from 'drizzle-orm/pg-core';
import { systemClock } from '../../db/clock.ts';
import { emptyOrder, type Item, type Order, type User } from '../../db/command.ts';
import type { Sql } from '../../db/connection/connection.ts';
import { connectionOn } from '../../db/connection/link.ts';
import { UPSERTED } from '../../db/connection/session.ts';
import { type OrderLine, orderChanges } from '../../db/engine/row-changes.ts';
import { LaneStream } from '../../db/engine/stream.ts';
import { transact } from '../../db/engine/transaction.ts';
import { writeItems, writeLines, writeOrders, writeUsers } from '../../db/engine/write-back.ts';
import { grantRoles } from '../../db/maintenance/grant.ts';
import { ROLES, withUpserts } from '../../db/maintenance/roles.ts';
import { items, orders, users } from '../../db/schema.ts';
import { simulate } from '../proofs/simulation/simulation.ts';
import { type SimStatement, sqlTag } from '../proofs/simulation/sql.ts';

const sql = sqlTag(() => Promise.reject(new Error('sent'))) as unknown as Sql;
const textsOf = (statements: unknown[]) => (statements as SimStatement[]).map(({ text }) => text);

const order: Order = { ...emptyOrder('o', 'u', 5), paid: true, total_cost: 3 };
const line: OrderLine = { order_id: 'o', item_id: 'i', quantity: 1, unit_price: 3, refunded: null };
const user: User = { id: 'u', credit: 1 };
const item: Item = { id: 'i', price: 3, stock: 1, holds: null };

/** The statements for new, changed and removed rows of every table. */
const writeBack = (upserts: boolean, checkout_only = false, has_payers = false): string[] => {
  const changes = <T>(row: T) => ({ made: [row], changed: [row], removed: [], checkout_only });
  const target = { sql, upserts };
  return textsOf([
    ...writeOrders(target, { ...changes(order), removed: ['gone'], has_payers }, 5),
    ...writeLines(sql, { ...changes(line), removed: [line] }),
    ...writeUsers(target, changes(user), 5),
    ...writeItems(target, changes(item), 5),
  ]);
};

test('an upsert names every column of a table without secondary indexes, so it reads nothing', () => {
  const upserts = writeBack(true).filter((text) => text.startsWith('upsert'));
  expect(upserts.length).toBe(UPSERTED.length);
  const tables = [users, items, orders];
  expect<string[]>(tables.map(getTableName)).toEqual([...UPSERTED]);
  for (const table of tables) {
    const { name, columns, indexes, uniqueConstraints, foreignKeys } = getTableConfig(table);
    expect([name, indexes, uniqueConstraints, foreignKeys]).toEqual([name, [], [], []]);
    const head = `upsert into ${name} (${columns.map((column) => column.name).join(', ')}) `;
    expect(upserts.filter((text) => text.startsWith(head)).length).toBe(1);
  }
});

test('new rows are inserted on both stores, so that a duplicate id fails; the rest is the same', () => {
  const [upserted, updated] = [writeBack(true), writeBack(false)];
  expect(writeBack(true, true)).toEqual(upserted);
  expect(updated.filter((text) => /^upsert|on conflict/.test(text))).toEqual([]);
  // Lines have an index, which an upsert would have to read.
  const not = /^update (?!order_lines)|on conflict/;
  expect(upserted.filter((text) => not.test(text))).toEqual([]);
  const others = (texts: string[]) => texts.filter((text) => !/^(upsert|update)/.test(text));
  expect(others(upserted)).toEqual(others(updated));
  expect(others(upserted).filter((text) => text.startsWith('insert')).length).toBe(4);
});

test('who has paid is written if somebody is known, or no longer; elsewhere it costs nothing', () => {
  const named = (texts: string[]) =>
    texts.filter((text) => text.includes('paid_by')).map((text) => text.slice(0, 13));
  for (const checkout_only of [false, true]) {
    expect(named(writeBack(false, checkout_only))).toEqual([]);
    const both = ['insert into o', 'update orders'];
    expect(named(writeBack(false, checkout_only, true))).toEqual(both);
  }
  const hasPayers = (before: Order | undefined, now: Order | undefined) =>
    orderChanges(new Map([['o', { before, now }]])).has_payers;
  const paid = { ...order, paid_by: 'key:a' };
  for (const changed of [undefined, order, { ...paid, paid_by: 'key:b' }]) {
    expect([hasPayers(changed, paid), hasPayers(paid, changed)]).toEqual([true, true]);
  }
  expect([hasPayers(order, { ...order }), hasPayers(paid, { ...paid })]).toEqual([false, false]);
});

test('UPSERT and UPDATE have the same effect: a seed has the same history with either', () => {
  const upserted = new Set<string | undefined>();
  const history = (seed: number, upserts: boolean) => {
    const { trace, violations, ...rest } = simulate(seed, true, upserts);
    expect(violations).toEqual([]);
    for (const step of trace) {
      for (const [, table] of step.matchAll(/\bupsert (\w+)\(/g)) upserted.add(table);
    }
    // An update leaves out columns that stay as they are.
    const written = /\b(?:upsert|update) (\w+)\([^)]*\)/g;
    return { ...rest, trace: trace.map((step) => step.replaceAll(written, 'write $1')) };
  };
  for (let seed = 1; seed <= 25; seed++) expect(history(seed, true)).toEqual(history(seed, false));
  expect([...upserted].sort()).toEqual([...UPSERTED].sort());
});

test('a role that has lost INSERT is refused once; its next connection checks again', async () => {
  const refusal = Object.assign(new Error('no'), { name: 'PostgresError', code: '42501' });
  let failed = false;
  const answers = (text: string): unknown => {
    if (text.startsWith('insert into batches')) failed = true;
    if (failed && text !== 'commit') throw refusal;
    return Object.assign([], { command: text === 'commit' ? 'ROLLBACK' : '' });
  };
  const attemptOn = async (upserts: boolean) => {
    failed = false;
    const { connection } = connectionOn({
      sql: sqlTag(async ({ text }) => answers(text)) as unknown as Sql,
      features: { gated: false, upserts, fenced: true },
      clock: systemClock,
      stale_at: Number.POSITIVE_INFINITY,
      drop: () => {},
      end: async () => {},
    });
    const command = {
      keys: {},
      decide: () => ({ outcome: { status: 200, body: '' }, changes: { users: [user] } }),
    };
    const bounds = { begin_ms: 5000, lock_ms: 5000, commit_ms: 5000, row_ms: 500, rows_max: 10 };
    const stream = new LaneStream(systemClock, 72);
    const { end } = await transact(connection, [{ command, keys: {} }], stream, bounds);
    return [end, connection.alive];
  };
  expect(await attemptOn(true)).toEqual(['aborted', false]);
  expect(await attemptOn(false)).toEqual(['aborted', true]);
});

test('on CockroachDB a role that updates whole rows may insert them too, and no more', async () => {
  const more = Object.entries(ROLES).flatMap(([role, grants]) => {
    const with_upserts = withUpserts(grants);
    expect(Object.keys(with_upserts)).toEqual(Object.keys(grants));
    return Object.entries(with_upserts).flatMap(([table, privileges]) =>
      privileges
        .filter((privilege) => !grants[table]?.includes(privilege))
        .map((privilege) => `${role}: ${privilege} on ${table}`),
    );
  });
  expect(more).toEqual(['kassa_payment: insert on orders', 'kassa_payment: insert on items']);
});

test.each([
  ['CockroachDB CCL v25.4.11 (x86_64-pc-linux-gnu)', 'grant select, update, insert on items'],
  ['PostgreSQL 18.4 on x86_64-pc-linux-gnu', 'grant select, update on items'],
])('a migration grants what the roles need on %s', async (version, grant) => {
  const said: string[] = [];
  const answer = (text: string) => {
    if (text.includes('version()')) return [{ version }];
    if (text.includes('from pg_roles')) return [{ rolname: 'kassa_payment' }];
    if (text.includes('information_schema.tables')) return [{ table_name: 'items' }];
    return [];
  };
  const tag = async (parts: TemplateStringsArray) => answer(parts.join('?'));
  const server = Object.assign(tag, { unsafe: async (text: string) => answer(text) });
  const granting = grantRoles(server as unknown as Sql, (statement) => said.push(statement));
  await Promise.allSettled([granting]); // this server grants nothing, which some are told
  expect(said).toEqual([`${grant} to kassa_payment`]);
});
