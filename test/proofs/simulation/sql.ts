/** The SQL that the model store knows: exactly the engine's statements, identified by their text. */
import { operationsTable, SERVICES } from '../../../db/service.ts';
import {
  type OperationsTable,
  type Row,
  serverError,
  type Table,
  type Transaction,
  type Wait,
} from './store.ts';

export interface SimStatement {
  /** White space is folded; each argument reads `$`. */
  text: string;
  args: unknown[];
}
export type Perform = (transaction: Transaction, args: string[], now: number) => Promise<Row[]>;

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

type Type = 'text' | 'int8' | 'bool';
interface Shape {
  key: readonly string[];
  columns: Record<string, Type>;
}
const movement = { id: 'text', amount: 'int8', reason: 'text', order_id: 'text' } as const;
const shapes: Record<Exclude<Table, OperationsTable>, Shape> = {
  users: { key: ['id'], columns: { id: 'text', credit: 'int8' } },
  items: { key: ['id'], columns: { id: 'text', price: 'int8', stock: 'int8' } },
  orders: {
    key: ['id'],
    columns: { id: 'text', user_id: 'text', paid: 'bool', total_cost: 'int8', payment: 'int8' },
  },
  order_lines: {
    key: ['order_id', 'item_id'],
    columns: { order_id: 'text', item_id: 'text', quantity: 'int8', unit_price: 'int8' },
  },
  credit_movements: { key: ['user_id', 'id'], columns: { user_id: 'text', ...movement } },
  stock_movements: { key: ['item_id', 'id'], columns: { item_id: 'text', ...movement } },
};

const performers = new Map<string, Perform>();

for (const [name, { key, columns }] of Object.entries(shapes)) {
  const table = name as Table;
  const names = Object.keys(columns);
  const types = Object.values(columns);
  const list = names.join(', ');
  const unnested = `from unnest(${types.map((type) => `$::${type}[]`).join(', ')}) as n(${list})`;
  const rest = names.filter((column) => !key.includes(column));
  const keyOf = (row: Row) => key.map((column) => row[column]).join(' ');
  const each =
    (how: 'insert' | 'update' | 'upsert') => async (transaction: Transaction, args: string[]) => {
      for (const row of rowsOf(names, types, args)) {
        check(table, row);
        if (how === 'upsert') assertLocked(transaction, table, row);
        await transaction[how](table, keyOf(row), row);
      }
      return [];
    };
  for (const how of ['insert', 'upsert'] as const) {
    performers.set(
      `${how} into ${table} (${list}) select ${names.map((c) => `n.${c}`).join(', ')} ${unnested}`,
      each(how),
    );
  }
  performers.set(
    `update ${table} set ${rest.map((c) => `${c} = n.${c}`).join(', ')} ${unnested} where ${key
      .map((c) => `${table}.${c} = n.${c}`)
      .join(' and ')}`,
    each('update'),
  );
  if (!names.includes('id') || table.endsWith('movements')) continue;
  const locking = (how: Wait) => async (transaction: Transaction, args: string[]) => {
    const ids = args[0]?.startsWith('{') ? texts_(args[0]) : args;
    const rows: Row[] = [];
    for (const id of ids.sort()) {
      const row = await transaction.lock(table, id ?? '', how);
      if (row) rows.push(row);
    }
    return rows;
  };
  const all = 'where id = any($::text[])';
  const one = 'where id = $';
  performers.set(`select ${list} from ${table} ${all} order by id for update`, locking('wait'));
  performers.set(
    `select ${list} from ${table} ${all} order by id for update skip locked`,
    locking('skip'),
  );
  performers.set(`select id from ${table} ${all} for update skip locked`, locking('skip'));
  performers.set(`select id from ${table} ${one} for update nowait`, locking('nowait'));
  performers.set(`select id from ${table} ${one} for update`, locking('wait'));
  performers.set(`select id from ${table} ${all}`, async (transaction, [ids = '']) =>
    texts_(ids).flatMap((id): Row[] => [transaction.read(table, id ?? '') ?? []].flat()),
  );
}

/** Locks the write gate. */
export const GATE = 'lock table write_gate in exclusive mode';
performers.set(GATE, async (transaction) => {
  await transaction.hold('write_gate');
  return [];
});
performers.set("select set_config('lock_timeout', $, true)", async (transaction, [ms]) => {
  transaction.lock_timeout_ms = Number(ms);
  return [];
});
performers.set("select set_config('statement_timeout', $, false)", async () => []);

const removing =
  (table: Table): Perform =>
  async (transaction, [ids = '']) => {
    for (const id of texts_(ids)) await transaction.remove(table, id ?? '');
    return [];
  };
performers.set('delete from orders where id = any($::text[])', removing('orders'));
performers.set(
  'delete from order_lines where (order_id, item_id) in (select g.order_id, g.item_id ' +
    'from unnest($::text[], $::text[]) as g(order_id, item_id))',
  async (transaction, [orders = '', items = '']) => {
    const item_ids = texts_(items);
    for (const [i, order_id] of texts_(orders).entries()) {
      await transaction.remove('order_lines', `${order_id} ${item_ids[i]}`);
    }
    return [];
  },
);
performers.set(
  'select order_id, item_id, quantity, unit_price from order_lines ' +
    'where order_id = any($::text[]) order by order_id limit $',
  async (transaction, [ids = '', limit]) =>
    texts_(ids)
      .sort()
      .flatMap((order_id) => transaction.readLines(order_id ?? ''))
      .slice(0, Number(limit)),
);
/** Whether the statement writes the marker of a transaction. */
export const isMarker = (text: string): boolean => markers.has(text);
const markers = new Set<string>();

for (const service of SERVICES) knowOperations(operationsTable(service));

function knowOperations(table: OperationsTable): void {
  performers.set(`delete from ${table} where key = any($::text[])`, removing(table));
  performers.set(
    `select key, fingerprint, status, answer, expires_at > now() as live from ${table} ` +
      'where key = any($::text[])',
    async (transaction, [keys = ''], now) =>
      texts_(keys).flatMap((key) => {
        const row = transaction.read(table, key ?? '');
        return row ? { ...row, live: Number(row.expires_at) > now } : [];
      }),
  );
  performers.set(
    `select fingerprint from ${table} where key = $`,
    async (transaction, [key = '']) => {
      const row = transaction.read(table, key);
      return row ? [row] : [];
    },
  );
  const insert = `insert into ${table} (key, fingerprint, status, answer, expires_at) `;
  const marker = `${insert}values ($, $, 0, '', now() + interval '1 hour')`;
  markers.add(marker);
  performers.set(marker, async (transaction, [key = '', fingerprint = ''], now) => {
    const row = { key, fingerprint, status: 0, answer: '', expires_at: now + 3_600_000 };
    await transaction.insert(table, key, row);
    return [];
  });
  performers.set(
    `${insert}select n.key, n.fingerprint, n.status, n.answer, now() + interval '24 hours' ` +
      'from unnest($::text[], $::text[], $::int8[], $::text[]) ' +
      'as n(key, fingerprint, status, answer)',
    async (transaction, args, now) => {
      const names = ['key', 'fingerprint', 'status', 'answer'];
      for (const row of rowsOf(names, ['text', 'text', 'int8', 'text'], args)) {
        const expires_at = now + 24 * 3_600_000;
        await transaction.insert(table, String(row.key), { ...row, expires_at });
      }
      return [];
    },
  );
}

/** An UPSERT overwrites unread rows, so the engine may use it only for rows that it has locked. */
function assertLocked(transaction: Transaction, table: Table, row: Row): void {
  const name = table === 'order_lines' ? `orders/${row.order_id}` : `${table}/${row.id}`;
  if (!transaction.held.has(name)) throw new Error(`${name} is upserted without a lock`);
}

function rowsOf(names: readonly string[], types: readonly Type[], args: string[]): Row[] {
  const columns = types.map((type, i) => parsers[type](args[i] ?? '{}'));
  const rows: Row[] = (columns[0] ?? []).map(() => ({}));
  for (const [c, name] of names.entries()) {
    for (const [r, row] of rows.entries()) row[name] = columns[c]?.[r];
  }
  return rows;
}

/** Array literals, as db/connection/arrays.ts writes them. */
const texts_ = (literal: string): (string | null)[] =>
  [...literal.matchAll(/"((?:[^"\\]|\\.)*)"|NULL/g)].map(([, text]) =>
    text === undefined ? null : text.replace(/\\(.)/g, '$1'),
  );
const parsers: Record<Type, (literal: string) => unknown[]> = {
  text: texts_,
  int8: (literal) => words(literal).map((word) => (word === 'NULL' ? null : Number(word))),
  bool: (literal) => words(literal).map((word) => word === 'true'),
};
const words = (literal: string) => (literal === '{}' ? [] : literal.slice(1, -1).split(','));

const LIMIT = 2 ** 53 - 1;
const isBetween = (value: unknown, low: number) => Number(value) >= low && Number(value) <= LIMIT;

/** The CHECK constraints of db/schema.ts. */
function check(table: Table, row: Row): void {
  const holds = checks[table]?.(row) ?? true;
  if (!holds) throw serverError('23514', `a CHECK of ${table}`);
}
const checks: Partial<Record<Table, (row: Row) => boolean>> = {
  users: (row) => isBetween(row.credit, 0),
  items: (row) => isBetween(row.price, 0) && isBetween(row.stock, 0),
  orders: (row) =>
    isBetween(row.total_cost, 0) &&
    (row.payment === null || (isBetween(row.payment, 1) && !row.paid)),
  order_lines: (row) => isBetween(row.quantity, 1) && isBetween(row.unit_price, 0),
};
