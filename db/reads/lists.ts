/** Lists: each page is one statement that reads a bounded number of rows. */
import { backOff, systemClock } from '../clock.ts';
import type { User } from '../command.ts';
import { nowIf } from '../connection/dialect.ts';
import type { ReadPool, Trying } from '../connection/pool.ts';
import { contraction } from '../connection/session.ts';
import { Failure, isLockTimeout } from '../failure.ts';
import { orderHistory } from './history.ts';
import { listOrders, type OrdersWanted } from './order-lists.ts';
import { type ById, type ByTime, type Page, pageOf, type Wanted } from './page.ts';
import { listRefunds, type RefundRecord, readRefund } from './refunds.ts';
import type { Shown, ShownItem, ShownOrder } from './shown.ts';
import { creditMovements, type Movement, stockMovements } from './statements.ts';
import { type FoundTransaction, findTransactions } from './transactions.ts';
import { turns } from './turns.ts';

export interface Lists {
  users(wanted: Wanted<ById>): Promise<Page<Shown<User>, ById>>;
  items(wanted: Wanted<ById>): Promise<Page<ShownItem, ById>>;
  orders(wanted: OrdersWanted<ById>): Promise<Page<ShownOrder, ById>>;
  /** The newest first. @throws Failure not_ready until every order is in the list of its user */
  ordersOf(user_id: string, wanted: OrdersWanted<ByTime>): Promise<Page<ShownOrder, ByTime>>;
  /**
   * Every change of the credit, the newest first.
   * @throws Failure user_not_found; not_ready until every order is in the list of its user
   */
  creditMovements(user_id: string, wanted: Wanted<ByTime>): Promise<Page<Movement, ByTime>>;
  /** Every change of the stock, the newest first. @throws Failure item_not_found */
  stockMovements(item_id: string, wanted: Wanted<ByTime>): Promise<Page<Movement, ByTime>>;
  /** What has happened to an order, the oldest first. @throws Failure order_not_found */
  orderHistory(order_id: string, wanted: Wanted<ByTime>): ReturnType<typeof orderHistory>;
  /** The transactions of what happened to an order at these times, as far as the log has them. */
  transactions(order_id: string, times: readonly number[]): Promise<Map<number, FoundTransaction>>;
  /** The oldest first. @throws Failure order_not_found */
  refunds(order_id: string, wanted: Wanted<ByTime>): Promise<Page<RefundRecord, ByTime>>;
  /** @throws Failure order_not_found, refund_not_found */
  refund(order_id: string, refund_id: string): Promise<RefundRecord>;
}

/** Pages, except of statements, that are read at once; further ones are rejected. */
const PAGES_MAX = 64;

/**
 * @param pool its failures and time limits are those of every read
 * @param statements_max statements of account that are read at once, since each may take seconds
 */
export function lists(pool: ReadPool, deadline_ms: number, statements_max: number): Lists {
  const inTurn = turns(statements_max);
  let under_way = 0;
  let is_filled = false;
  /** @throws Failure overloaded */
  const paging = async <T>(read: (trying: Trying) => Promise<T>): Promise<T> => {
    if (under_way >= PAGES_MAX) throw new Failure('overloaded', 'too many lists are being read');
    under_way++;
    return inTime(read, systemClock.now() + deadline_ms).finally(() => under_way--);
  };
  const readStatement = <T>(owner: string, read: (trying: Trying) => Promise<T>): Promise<T> =>
    inTime(
      (trying) => inTurn(owner, trying.deadline_at, () => read({ ...trying, takes_long: true })),
      systemClock.now() + deadline_ms,
    );
  const filled = async <T>(trying: Trying, read: () => Promise<T>): Promise<T> => {
    is_filled ||= await areFilled(pool, trying);
    if (!is_filled) throw new Failure('not_ready', NOT_FILLED);
    return read();
  };
  return {
    users: (wanted) => paging((trying) => listUsers(pool, wanted, trying)),
    items: (wanted) => paging((trying) => listItems(pool, wanted, trying)),
    orders: (wanted) => paging((trying) => listOrders(pool, wanted, trying)),
    ordersOf: (user_id, wanted) =>
      paging((trying) => filled(trying, () => listOrders(pool, wanted, trying, user_id))),
    creditMovements: (user_id, wanted) =>
      readStatement(`user ${user_id}`, (trying) =>
        filled(trying, () => creditMovements(pool, user_id, wanted, trying)),
      ),
    stockMovements: (item_id, wanted) =>
      readStatement(`item ${item_id}`, (trying) => stockMovements(pool, item_id, wanted, trying)),
    orderHistory: (order_id, wanted) =>
      paging((trying) => orderHistory(pool, order_id, wanted, trying)),
    transactions: (order_id, times) =>
      paging((trying) => findTransactions(pool, order_id, times, trying)),
    refunds: (order_id, wanted) => paging((trying) => listRefunds(pool, order_id, wanted, trying)),
    refund: (order_id, refund_id) =>
      paging((trying) => readRefund(pool, order_id, refund_id, trying)),
  };
}

/** Waits for locks until the deadline. A read that takes too long by itself is not tried again. */
async function inTime<T>(read: (trying: Trying) => Promise<T>, deadline_at: number): Promise<T> {
  for (let tries = 0; ; tries++) {
    try {
      return await read({ deadline_at, waits_for_locks: false });
    } catch (cause) {
      if (!(cause instanceof Failure) || cause.code !== 'contention') throw cause;
      if (!isLockTimeout(cause.cause) || systemClock.now() >= deadline_at) {
        throw new Failure('contention', 'the store took too long to read this list', { cause });
      }
    }
    await backOff(systemClock, tries);
  }
}

const NOT_FILLED = 'the lists of users lack older orders: run `bun run migrate --contract`';

/** Whether the contraction 0004 has put every order into the list of its user. */
async function areFilled(pool: ReadPool, trying: Trying): Promise<boolean> {
  return (await pool.read(contraction, trying)).length > 0;
}

async function listUsers(pool: ReadPool, { limit, after: [id] }: Wanted<ById>, trying: Trying) {
  const rows = await pool.read(
    (sql) =>
      sql`select u.id, u.credit, m.data as metadata
          from (select id, credit from users where id > ${id} order by id limit ${limit + 1}) u
          left join user_metadata m on m.id = u.id order by u.id`,
    trying,
  );
  return pageById(rows as unknown as Shown<User>[], limit);
}

async function listItems(pool: ReadPool, { limit, after: [id] }: Wanted<ById>, trying: Trying) {
  const rows = await pool.read(
    (sql) =>
      sql`select i.id, i.price, i.stock, i.holds, m.data as metadata,
                 ${nowIf(sql, sql`i.holds is not null`, sql`i.changed_at`)}
          from (select id, price, stock, holds, changed_at from items
                where id > ${id} order by id limit ${limit + 1}) i
          left join item_metadata m on m.id = i.id order by i.id`,
    trying,
  );
  return pageById(rows as unknown as ShownItem[], limit);
}

const pageById = <Row extends { id: string }>(rows: readonly Row[], limit: number) =>
  pageOf(rows, limit, ({ id }): ById => [id]);
