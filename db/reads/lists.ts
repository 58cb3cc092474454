/** Lists: each page is one statement that reads a bounded number of rows. */
import { backOff, systemClock } from '../clock.ts';
import type { User } from '../command.ts';
import { nowIf } from '../connection/dialect.ts';
import type { ReadPool, Trying } from '../connection/pool.ts';
import { contraction } from '../connection/session.ts';
import { Failure, isLockTimeout } from '../failure.ts';
import type { PrincipalName } from '../tally.ts';
import { orderHistory } from './history.ts';
import { listOrders, type OrdersWanted } from './order-lists.ts';
import { type Asking, type ById, type ByTime, type Page, pageOf, type Wanted } from './page.ts';
import { listRefunds, type RefundRecord, readRefund } from './refunds.ts';
import type { Shown, ShownItem, ShownOrder } from './shown.ts';
import { creditMovements, type Movement, stockMovements } from './statements.ts';
import { type FoundTransaction, findTransactions } from './transactions.ts';
import { oneOfEach, turns } from './turns.ts';

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
  refund(order_id: string, refund_id: string, by?: Asking): Promise<RefundRecord>;
}

/**
 * Room for the pages that are read at once, and the rows for which a page takes one part of it. A
 * caller alone reads two of the largest pages, or sixteen small ones; where authentication is off,
 * all together read twice as many. With more the process would be slow to read what else arrives.
 */
const [PAGES_ROOM, ROWS_A_PART] = [32, 125];
/** Those that wait for their turn. */
const [PAGES_WAIT, STATEMENTS_WAIT, STATEMENTS_OF_ONE_WAIT] = [128, 64, 4];

/**
 * @param pool its failures and time limits are those of every read
 * @param statements_max statements of account that one caller reads at once, since each may take
 *   seconds
 */
export function lists(pool: ReadPool, deadline_ms: number, statements_max: number): Lists {
  const pageInTurn = turns({
    ...{ room: PAGES_ROOM, waiting: PAGES_WAIT },
    refusal: 'too many lists are being read',
  });
  const statementInTurn = turns({
    ...{ room: 2 * statements_max - 1, nobody_max: statements_max, waiting: STATEMENTS_WAIT },
    refusal: 'too many statements are being read',
  });
  const ofOneOwner = oneOfEach({
    waiting: STATEMENTS_OF_ONE_WAIT,
    refusal: 'too many reads of this statement are waiting',
  });
  let is_filled = false;
  const paging = <T>(
    { principal, limit }: { principal?: PrincipalName; limit: number },
    read: (trying: Trying) => Promise<T>,
  ): Promise<T> => {
    const size = Math.max(1, Math.ceil(limit / ROWS_A_PART));
    return inTime(
      (trying) => pageInTurn({ principal, size, ...trying }, () => read(trying)),
      deadline_ms,
    );
  };
  /** The statements of one user or item one at a time, so that they leave turns to the others. */
  const readStatement = <T>(
    owner: string,
    principal: PrincipalName,
    read: (trying: Trying) => Promise<T>,
  ): Promise<T> =>
    inTime(
      (trying) =>
        ofOneOwner(`${owner} ${principal}`, trying.deadline_at, () =>
          statementInTurn({ principal, ...trying }, () => read({ ...trying, takes_long: true })),
        ),
      deadline_ms,
    );
  const filled = async <T>(trying: Trying, read: () => Promise<T>): Promise<T> => {
    is_filled ||= await areFilled(pool, trying);
    if (!is_filled) throw new Failure('not_ready', NOT_FILLED);
    return read();
  };
  return {
    users: (wanted) => paging(wanted, (trying) => listUsers(pool, wanted, trying)),
    items: (wanted) => paging(wanted, (trying) => listItems(pool, wanted, trying)),
    orders: (wanted) => paging(wanted, (trying) => listOrders(pool, wanted, trying)),
    ordersOf: (user_id, wanted) =>
      paging(wanted, (trying) => filled(trying, () => listOrders(pool, wanted, trying, user_id))),
    creditMovements: (user_id, wanted) =>
      readStatement(`user ${user_id}`, wanted.principal, (trying) =>
        filled(trying, () => creditMovements(pool, user_id, wanted, trying)),
      ),
    stockMovements: (item_id, wanted) =>
      readStatement(`item ${item_id}`, wanted.principal, (trying) =>
        stockMovements(pool, item_id, wanted, trying),
      ),
    orderHistory: (order_id, wanted) =>
      paging(wanted, (trying) => orderHistory(pool, order_id, wanted, trying)),
    transactions: (order_id, times) =>
      paging({ limit: times.length }, (trying) => findTransactions(pool, order_id, times, trying)),
    refunds: (order_id, wanted) =>
      paging(wanted, (trying) => listRefunds(pool, order_id, wanted, trying)),
    refund: (order_id, refund_id, { principal, only_user } = {}) =>
      paging({ principal, limit: 1 }, (trying) =>
        readRefund(pool, order_id, refund_id, only_user, trying),
      ),
  };
}

/** Waits for locks until the deadline. A read that takes too long by itself is not tried again. */
async function inTime<T>(read: (trying: Trying) => Promise<T>, deadline_ms: number): Promise<T> {
  const deadline_at = systemClock.now() + deadline_ms;
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
