/** The refunds of an order, which its events record. A replaced order starts again without any. */
import type { Sql, Statement } from '../connection/connection.ts';
import type { ReadPool, Trying } from '../connection/pool.ts';
import { Failure } from '../failure.ts';
import { ofUser } from './orders.ts';
import { type ByTime, PAGE_MAX_BYTES, type Page, pageOf, type Wanted } from './page.ts';

export interface RefundRecord {
  /** In microseconds since 1970. */
  at: number;
  /** The text of a JSON object. */
  data: string;
}

/** The oldest first. @throws Failure order_not_found */
export async function listRefunds(
  pool: ReadPool,
  order_id: string,
  { limit, after: [at], only_user }: Wanted<ByTime>,
  trying: Trying,
): Promise<Page<RefundRecord, ByTime>> {
  const rows = await pool.read(
    (sql) => sql`
      select o.id, e.at, e.data, e.found
      from orders o
      left join (select at, data, found
                 from (select at, data, count(*) over () as found,
                              sum(length(data)) over (order by at) - length(data) as bytes_before
                       from (select e.at, e.data from order_events e
                             where ${ofRefunds(sql, order_id)} and e.at > ${at}::int8
                             order by e.at limit ${limit + 1}) wanted) sized
                 where bytes_before < ${PAGE_MAX_BYTES}::int8) e on true
      where o.id = ${order_id} ${ofUser(sql, only_user)} order by e.at`,
    trying,
  );
  if (rows.length === 0) throw new Failure('order_not_found', `no order ${order_id}`);
  const found = (rows as unknown as (RefundRecord & { found: number })[]).filter(
    (row) => row.at !== null,
  );
  return pageOf(found, limit, (row): ByTime => [row.at, ''], found[0]?.found);
}

/** @throws Failure order_not_found, refund_not_found */
export async function readRefund(
  pool: ReadPool,
  order_id: string,
  refund_id: string,
  only_user: string | undefined,
  trying: Trying,
): Promise<RefundRecord> {
  const begins = `{"id":"${refund_id}"`;
  const [row] = await pool.read(
    (sql) => sql`
      select o.id, e.at, e.data
      from orders o
      left join (select e.at, e.data from order_events e
                 where ${ofRefunds(sql, order_id)}
                   and left(e.data, ${begins.length}::int4) = ${begins}::text) e on true
      where o.id = ${order_id} ${ofUser(sql, only_user)}`,
    trying,
  );
  if (!row) throw new Failure('order_not_found', `no order ${order_id}`);
  if (row.at === null) {
    throw new Failure('refund_not_found', `order ${order_id} has no refund ${refund_id}`);
  }
  return row as unknown as RefundRecord;
}

const ofRefunds = (sql: Sql, order_id: string): Statement => sql`
  e.order_id = ${order_id} and e.type = 'refunded'
  and e.at > coalesce((select max(at) from order_events
                       where order_id = ${order_id} and type = 'replaced'), 0)`;
