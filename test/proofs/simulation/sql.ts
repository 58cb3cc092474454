/**
 * The SQL that the model store knows: exactly the engine's statements, identified by their text.
 */
import { getTableConfig, PgDialect } from 'drizzle-orm/pg-core';
import * as schema from '../../../db/schema.ts';
import { operationsTable, SERVICES } from '../../../db/service.ts';
import { type Row, serverError, type Transaction, type Wait } from './store.ts';

export interface SimStatement {
  /** White space is folded; each argument reads `$`. */
  text: string;
  args: unknown[];
}
/** @returns the rows, if it is a query */
export type Perform = (
  transaction: Transaction,
  args: string[],
  now: number,
) => Promise<Row[] | undefined>;

const texts = new Map<string, string>();

/** Stands in for the driver's tag: makes a statement, sent on `execute`, or a fragment of one. */
export const sqlTag =
  (execute: (statement: SimStatement) => Promise<unknown>) =>
  (parts: readonly string[], ...values: unknown[]) => {
    const statement = assemble(parts, values);
    let answer: Promise<unknown> | undefined;
    const executed = () => (answer ??= execute(statement));
    return {
      ...statement,
      execute: executed,
      // biome-ignore lint/suspicious/noThenProperty: as the driver's statements
      then: (...how: Parameters<Promise<unknown>['then']>) => executed().then(...how),
    };
  };

function assemble(parts: readonly string[], values: readonly unknown[]): SimStatement {
  let text = parts[0] ?? '';
  const args: unknown[] = [];
  for (const [i, value] of values.entries()) {
    const part = value as SimStatement;
    if (typeof part?.text === 'string') {
      text += part.text;
      args.push(...part.args);
    } else {
      text += '$';
      args.push(value);
    }
    text += parts[i + 1];
  }
  let plain = texts.get(text);
  if (plain === undefined) {
    plain = text.replace(/\s+/g, ' ').trim();
    texts.set(text, plain);
  }
  return { text: plain, args };
}

/** @returns undefined for an unknown text: then a statement of the engine has changed */
export const performerOf = (text: string): Perform | undefined => performers.get(text);

const performers = new Map<string, Perform>();
type Type = readonly [name: string, parse: (element: string) => unknown];
const TEXT: Type = ['text', String];
const INT8: Type = ['int8', Number];
const TYPES: Record<string, Type> = { bigint: INT8, boolean: ['bool', (it) => it === 'true'] };
const dialect = new PgDialect();

/** Columns that a checkout changes. If no others change, an update writes only these. */
const BY_CHECKOUT: Record<string, readonly string[]> = {
  orders: ['paid', 'payment', 'paid_at', 'changed_at', 'paid_by'],
  items: ['stock', 'changed_at'],
};

const { users, items, orders, order_lines, credit_movements, stock_movements } = schema;
const { order_events, orders_of_user } = schema;
for (const table of [
  ...[users, items, orders, orders_of_user, order_lines, order_events],
  ...[credit_movements, stock_movements],
]) {
  const { name, columns, primaryKeys, checks } = getTableConfig(table);
  // The store fills in a default, such as the time of a movement.
  const written = columns.filter((column) => !column.hasDefault);
  const key = primaryKeys[0]?.columns ?? columns.filter((column) => column.primary);
  knowWrites(name, {
    types: Object.fromEntries(written.map((c) => [c.name, TYPES[c.getSQLType()] ?? TEXT])),
    key: key.map((column) => column.name),
    checks: checks.map(({ value }) => checkOf(dialect.sqlToQuery(value).sql)),
  });
  if (key.length === 1) knowLocks(name, written.map((column) => column.name).join(', '));
}

interface Shape {
  types: Record<string, Type>;
  key: readonly string[];
  checks: readonly ((row: Row) => boolean)[];
}

function knowWrites(table: string, { types, key, checks }: Shape): void {
  const names = Object.keys(types);
  const empty = Object.fromEntries(names.map((name) => [name, null]));
  const write = (how: 'insert' | 'update' | 'upsert', written: readonly string[]): Perform => {
    // All rows of a statement have the same time of their change: it comes before their columns.
    const is_dated = written.includes('changed_at');
    const listed = Object.fromEntries(undated(types, written));
    return async (transaction, args) => {
      const dated = is_dated ? { changed_at: Number(args[0]) } : {};
      for (const given of rowsOf(listed, is_dated ? args.slice(1) : args)) {
        const name = `${table}/${key.map((column) => given[column]).join(' ')}`;
        const before = how === 'update' ? transaction.read(name) : undefined;
        const row: Row = { ...(before ?? empty), ...given, ...dated };
        const holds = checks.every((check) => check(row));
        if (!holds) throw serverError('23514', `a CHECK of ${table}`);
        if (how === 'upsert') assertLocked(transaction, table, row);
        await transaction[how](name, row);
      }
    };
  };
  const unnested = (written: readonly string[]) => {
    const listed = undated(types, written);
    const arrays = listed.map(([, [type]]) => `$::${type}[]`).join(', ');
    return `from unnest(${arrays}) as n(${listed.map(([name]) => name).join(', ')})`;
  };
  const value = (name: string) => (name === 'changed_at' ? '$::int8' : `n.${name}`);
  const isAnonymous = (column: string) => column !== 'principal' && column !== 'paid_by';
  const anonymous = names.filter(isAnonymous);
  for (const how of ['insert', 'upsert'] as const) {
    for (const given of [names, anonymous]) {
      const into = `into ${table} (${given.join(', ')}) select ${given.map(value).join(', ')}`;
      performers.set(`${how} ${into} ${unnested(given)}`, write(how, given));
    }
  }
  const where = key.map((column) => `${table}.${column} = n.${column}`).join(' and ');
  const rest = names.filter((column) => !key.includes(column));
  const of_checkout = BY_CHECKOUT[table] ?? rest;
  for (const changed of [rest, of_checkout].flatMap((all) => [all, all.filter(isAnonymous)])) {
    const set = changed.map((column) => `${column} = ${value(column)}`).join(', ');
    const written = [...key, ...changed];
    const text = `update ${table} set ${set} ${unnested(written)} where ${where}`;
    performers.set(text, write('update', written));
  }
}

/** The columns that differ from row to row. */
function undated(types: Shape['types'], written: readonly string[]) {
  return Object.entries(types).filter(([name]) => name !== 'changed_at' && written.includes(name));
}

function knowLocks(table: string, list: string): void {
  const locking = (how: Wait): Perform => {
    return async (transaction, args) => {
      const ids = args[0]?.startsWith('{') ? elements(args[0]) : args;
      const rows: Row[] = [];
      for (const id of ids.sort()) {
        const row = await transaction.lock(`${table}/${id}`, how);
        if (row) rows.push(row);
      }
      return rows;
    };
  };
  const all = `from ${table} where id = any($::text[])`;
  const one = `from ${table} where id = $`;
  performers.set(`select ${list} ${all} order by id for update`, locking('wait'));
  performers.set(`select ${list} ${all} order by id for update skip locked`, locking('skip'));
  performers.set(`select id ${all} for update skip locked`, locking('skip'));
  performers.set(`select id ${one} for update nowait`, locking('nowait'));
  performers.set(`select id ${one} for update`, locking('wait'));
  performers.set(`select id ${all}`, reading(table));
}

/** Reads rows by their keys. */
function reading(table: string) {
  return async (transaction: Transaction, [keys = '']: string[]) =>
    elements(keys)
      .map((key) => transaction.read(`${table}/${key}`))
      .filter((row) => row !== undefined);
}

/** Locks the write gate. */
export const GATE = 'lock table write_gate in exclusive mode';
performers.set(GATE, async (transaction) => {
  await transaction.hold('write_gate');
});
const TIME = '(extract(epoch from clock_timestamp()) * 1000000)::int8 as now_us';
performers.set(
  `select set_config('lock_timeout', $, true), ${TIME}, ` +
    '(select coalesce(max(position), 0) + 1 from batches where stream = $::int8) as position',
  async (transaction, [ms, stream]) => {
    transaction.lock_timeout_ms = Number(ms);
    return [{ now_us: transaction.clock_us(), position: transaction.nextPosition(Number(stream)) }];
  },
);
performers.set(`select ${TIME}`, async (transaction) => [{ now_us: transaction.clock_us() }]);
performers.set("select set_config('statement_timeout', $, false)", async () => undefined);

const removing =
  (table: string): Perform =>
  async (transaction, [ids = '']) => {
    for (const id of elements(ids)) await transaction.update(`${table}/${id}`, undefined);
  };
for (const table of ['orders', 'order_metadata']) {
  performers.set(`delete from ${table} where id = any($::text[])`, removing(table));
}
performers.set(
  'delete from order_lines where (order_id, item_id) in (select g.order_id, g.item_id ' +
    'from unnest($::text[], $::text[]) as g(order_id, item_id))',
  async (transaction, [order_ids = '', item_ids = '']) => {
    const items = elements(item_ids);
    for (const [i, order_id] of elements(order_ids).entries()) {
      await transaction.update(`order_lines/${order_id} ${items[i]}`, undefined);
    }
  },
);
performers.set(
  'select order_id, item_id, quantity, unit_price, refunded from order_lines ' +
    'where order_id = any($::text[]) order by order_id limit $',
  async (transaction, [ids = '', limit]) =>
    elements(ids)
      .sort()
      .flatMap((order_id) => transaction.readLines(order_id ?? ''))
      .slice(0, Number(limit)),
);

performers.set(
  'delete from orders_of_user where (user_id, created_at, order_id) in ' +
    '(select n.user_id, n.created_at, n.order_id from ' +
    'unnest($::text[], $::int8[], $::text[]) as n(user_id, created_at, order_id))',
  async (transaction, args) => {
    const types = { user_id: TEXT, created_at: INT8, order_id: TEXT };
    for (const { user_id, created_at, order_id } of rowsOf(types, args)) {
      await transaction.update(`orders_of_user/${user_id} ${created_at} ${order_id}`, undefined);
    }
  },
);

for (const table of SERVICES.map(operationsTable)) {
  const read = reading(table);
  performers.set(`delete from ${table} where key = any($::text[])`, removing(table));
  performers.set(
    `select key, fingerprint, status, answer, expires_at > now() as live from ${table} ` +
      'where key = any($::text[])',
    async (transaction, args, now) => {
      const rows = await read(transaction, args);
      return rows.map((row) => ({ ...row, live: Number(row.expires_at) > now }));
    },
  );
  const insert = `insert into ${table} (key, fingerprint, status, answer, writer, expires_at) `;
  performers.set(
    `${insert}select n.key, n.fingerprint, n.status, n.answer, $::int8, now() + interval '24 hours' ` +
      'from unnest($::text[], $::text[], $::int8[], $::text[]) ' +
      'as n(key, fingerprint, status, answer)',
    async (transaction, [, ...args], now) => {
      const types = { key: TEXT, fingerprint: TEXT, status: INT8, answer: TEXT };
      for (const row of rowsOf(types, args)) {
        const expires_at = now + 24 * 3_600_000;
        await transaction.insert(`${table}/${row.key}`, { ...row, expires_at });
      }
    },
  );
}

const INTO_STREAMS = 'insert into streams (id, opened_at) values ($::int8, $::int8)';
performers.set(INTO_STREAMS, async (log, [id]) => {
  await log.insert(`streams/${id}`, { id: Number(id) });
});
const INTO_LOG =
  'insert into batches (stream, position, id, at, events, writer, expires_at) ' +
  "values ($::int8, $::int8, $, $::int8, $::text, $::int8, now() + $::int8 * interval '1 hour')";
performers.set(INTO_LOG, async (log, [stream, position, id, at, events], written_at) => {
  const place = { stream: Number(stream), position: Number(position) };
  const row = { ...place, id, at: Number(at), events, written_at };
  await log.insert(`batches/${stream} ${position}`, row);
});
performers.set(
  'insert into batches (stream, position, id, at, events, writer, expires_at) ' +
    "select $::int8, $::int8, '', $::int8, null::text, $::int8, " +
    "now() + $::int8 * interval '1 hour' where $::int8 = 1 or exists ( " +
    'select 1 from batches where stream = $::int8 and position = $::int8) returning position',
  async (log, [stream, position, at], written_at) => {
    const place = { stream: Number(stream), position: Number(position) };
    const follows = log.read(`batches/${stream} ${place.position - 1}`) !== undefined;
    if (place.position > 1 && !follows) return [];
    const row = { ...place, id: '', at: Number(at), events: null, written_at };
    await log.insert(`batches/${stream} ${position}`, row);
    return [{ position }];
  },
);
performers.set(
  'select position, at from batches where stream = $::int8 order by position desc limit 1',
  async (log, [stream]) => log.batchesOf(Number(stream), 0).slice(-1),
);
performers.set(
  'select s.id as stream, b.position, b.at from streams s cross join lateral ( ' +
    'select position, at, expires_at from batches where stream = s.id ' +
    'order by position desc limit 2) b ' +
    "where s.id <> 0 and b.expires_at > now() + $::int8 * interval '30 minutes' " +
    "and b.expires_at < now() + $::int8 * interval '1 hour' - $::int8 * interval '1 millisecond' " +
    'order by s.id, b.position desc limit 32',
  async (log, [, , idle_ms], now) =>
    log
      .streams()
      .filter((stream) => stream !== 0)
      .flatMap((stream) => log.batchesOf(stream, 0).slice(-1))
      .filter((row) => Number(row.written_at) < now - Number(idle_ms)),
);
performers.set(
  'select id from batches where stream = $::int8 and position = $::int8',
  async (log, [stream, position]) => {
    const row = log.read(`batches/${stream} ${position}`);
    return row ? [row] : [];
  },
);

performers.set(
  'select s.id as stream, b.position, b.at, b.events, b.found, ' +
    'extract(epoch from now())::int8 as now_s ' +
    'from streams s left join unnest($::int8[], $::int8[]) as c(stream, position) ' +
    'on c.stream = s.id left join lateral ( select position, at, events, found ' +
    'from (select position, at, events, count(*) over () as found, ' +
    'sum(coalesce(octet_length(events), 0)) over (order by position) ' +
    '- coalesce(octet_length(events), 0) as bytes_before ' +
    'from (select position, at, events from batches ' +
    'where stream = s.id and position > coalesce(c.position, 0) ' +
    'order by position limit $::int8) wanted) sized ' +
    'where bytes_before < $::int8) b on true order by s.id, b.position',
  async (log, [streams = '', positions = '', max]) => {
    const known = elements(streams).map(Number);
    const last = elements(positions).map(Number);
    return log.streams().flatMap((stream): Row[] => {
      const after = last[known.indexOf(stream)] ?? 0;
      const rows = log.batchesOf(stream, after).slice(0, Number(max));
      const found = rows.length;
      return found > 0 ? rows.map((row) => ({ ...row, found })) : [{ stream, position: null }];
    });
  },
);

/** An UPSERT overwrites unread rows, so the engine may use it only for rows that it has locked. */
function assertLocked(transaction: Transaction, table: string, row: Row): void {
  const name = table === 'order_lines' ? `orders/${row.order_id}` : `${table}/${row.id}`;
  if (!transaction.held.has(name)) throw new Error(`${name} is upserted without a lock`);
}

/** A CHECK of db/schema.ts: a range, which NULL satisfies, or what excludes each other in a row. */
function checkOf(text: string): (row: Row) => boolean {
  const [, column = '', low, high] = /"(\w+)" between (\S+) and (\S+)$/.exec(text) ?? [];
  if (low === undefined) {
    const terms = text
      .replaceAll(/"\w+"\."(\w+)"/g, '$1')
      .slice('not ('.length, -1)
      .split(' and ');
    return (row) => !terms.every((term) => isTrue(row, term));
  }
  return ({ [column]: value }) =>
    value === null || (Number(value) >= Number(low) && Number(value) <= Number(high));
}

/** `paid`, `not paid` or `payment is not null`. */
function isTrue(row: Row, term: string): boolean {
  if (term.endsWith(' is not null')) return row[term.slice(0, -' is not null'.length)] !== null;
  return term.startsWith('not ') ? !row[term.slice('not '.length)] : Boolean(row[term]);
}

function rowsOf(types: Readonly<Record<string, Type>>, args: string[]): Row[] {
  const rows: Row[] = [];
  for (const [c, [name, [, parse]]] of Object.entries(types).entries()) {
    for (const [r, element] of elements(args[c] ?? '{}').entries()) {
      rows[r] = { ...rows[r], [name]: element === null ? null : parse(element) };
    }
  }
  return rows;
}

/** The elements of an array literal, as db/connection/arrays.ts writes them. */
const elements = (literal: string): (string | null)[] =>
  [...literal.matchAll(/"((?:[^"\\]|\\.)*)"|([^{},]+)/g)].map(([, quoted, bare]) =>
    bare === 'NULL' ? null : (bare ?? quoted?.replace(/\\(.)/g, '$1') ?? null),
  );
