/** The reads of the GET endpoints, and the read that prefetches orders for the engine. */
import { systemClock } from '../clock.ts';
import type { Item, Keys, Order, User } from '../command.ts';
import { textArray } from '../connection/arrays.ts';
import { nowIf } from '../connection/dialect.ts';
import type { PoolLimits, ReadPool, Trying } from '../connection/pool.ts';
import type { Sight } from '../connection/sight.ts';
import { Failure } from '../failure.ts';
import { type Meter, silentMeter } from '../meter.ts';
import type { PrincipalName } from '../tally.ts';
import { type Lists, lists } from './lists.ts';
import { findOrders, findOwnerships, ownershipOf, prefetchOrders, type Seen } from './orders.ts';
import { type Find, ReadBatcher } from './read-batcher.ts';
import {
  type Shown,
  type ShownItem,
  type ShownOrder,
  showItems,
  showOrders,
  showUsers,
} from './shown.ts';

/** Reads of one caller, if its name is known, leave turns to those of others. */
export interface Reads {
  findOrder(order_id: string, principal?: PrincipalName): Promise<Seen<Order> | undefined>;
  /** Whether the order is there and this user's. It reads nothing else of the order. */
  owns(user_id: string, order_id: string, principal?: PrincipalName): Promise<boolean>;
  findUser(user_id: string, principal?: PrincipalName): Promise<User | undefined>;
  findItem(item_id: string, principal?: PrincipalName): Promise<Seen<Item> | undefined>;
  /** As /v1 shows them, with metadata. The path calls do not need these. */
  showOrder(order_id: string, principal?: PrincipalName): Promise<ShownOrder | undefined>;
  showUser(user_id: string, principal?: PrincipalName): Promise<Shown<User> | undefined>;
  showItem(item_id: string, principal?: PrincipalName): Promise<ShownItem | undefined>;
  list: Lists;
  /**
   * The keys of each order, its user and its items; no keys for an order that does not exist.
   * Orders whose lines exceed one statement are left out: ask for them again. The result is only a
   * hint, so it does not wait for locks.
   * @param sight who may see the orders, if not everybody who asks
   * @throws Failure at the first lock timeout, and after `response_timeout_ms`
   */
  prefetchOrders(order_ids: readonly string[], sight?: Sight): Promise<Map<string, Keys>>;
  close(): Promise<void>;
}

export interface ReadLimits extends PoolLimits {
  /** Reads of one kind that wait; the next one is rejected with `overloaded`. */
  queue_max: number;
}

export function reads(pool: ReadPool, limits: ReadLimits, meter: Meter = silentMeter): Reads {
  const { queue_max, deadline_ms, response_timeout_ms } = limits;
  const batched = <Row extends { id: string }>(find: Find<Row>, ids_max: number) => {
    const batcher = new ReadBatcher(find, { ids_max, queue_max, deadline_ms }, pool.away, meter);
    return (id: string, principal?: PrincipalName) => batcher.read(id, principal);
  };
  const findOwnership = batched((ids, trying) => findOwnerships(pool, ids, trying), ROWS_MAX);
  return {
    owns: async (user_id, order_id, principal) =>
      (await findOwnership(ownershipOf(user_id, order_id), principal)) !== undefined,
    findOrder: batched((ids, trying) => findOrders(pool, ids, trying), ORDERS_MAX),
    findUser: batched((ids, trying) => findUsers(pool, ids, trying), ROWS_MAX),
    findItem: batched((ids, trying) => findItems(pool, ids, trying), ROWS_MAX),
    showOrder: batched((ids, trying) => showOrders(pool, ids, trying), ORDERS_MAX),
    showUser: batched((ids, trying) => showUsers(pool, ids, trying), ROWS_MAX),
    showItem: batched((ids, trying) => showItems(pool, ids, trying), ROWS_MAX),
    list: lists(pool, deadline_ms, Math.max(1, Math.floor(limits.read_pool_size / 2))),
    prefetchOrders: (ids, sight) =>
      within(response_timeout_ms, (trying) => prefetchOrders(pool, ids, trying, sight)),
    close: pool.close,
  };
}

/** Ids in one statement. */
const ROWS_MAX = 512;
const ORDERS_MAX = 128;

async function* findUsers(pool: ReadPool, ids: readonly string[], trying: Trying) {
  const rows = await pool.read(
    (sql) => sql`select id, credit from users where id = any(${textArray(ids)}::text[])`,
    trying,
  );
  yield rows as unknown as User[];
}

async function* findItems(pool: ReadPool, ids: readonly string[], trying: Trying) {
  const rows = await pool.read(
    (sql) =>
      sql`select id, price, stock, holds, ${nowIf(sql, sql`holds is not null`, sql`changed_at`)}
          from items where id = any(${textArray(ids)}::text[])`,
    trying,
  );
  yield rows as unknown as Seen<Item>[];
}

/** Rejects after `ms` with the reason for the wait. */
function within<T>(ms: number, work: (trying: Trying) => Promise<T>): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const trying: Trying = { deadline_at: systemClock.now() + ms, waits_for_locks: false };
  const late = () => {
    reject(trying.trouble ?? new Failure('store_unavailable', 'the store does not answer in time'));
  };
  const cancel = systemClock.after(ms, late);
  work(trying).then(resolve, reject);
  return promise.finally(cancel);
}
