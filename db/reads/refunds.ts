/** Reads the refunds of an order from its events. */
import type { ReadPool, Trying } from '../connection/pool.ts';

/** Refunds that one answer shows. */
const REFUNDS_MAX = 1000;

export interface Refunds {
  /** The key that was asked for. */
  id: string;
  /** The record of each, oldest first. */
  records: Record<string, unknown>[];
  has_more: boolean;
}

/** The key of all refunds of an order, or of one of them. */
export const refundsKey = (order_id: string, refund_id = ''): string => `${order_id} ${refund_id}`;

/**
 * Yields nothing for an order that does not exist. A replaced order starts again without refunds.
 */
export async function* findRefunds(
  pool: ReadPool,
  keys: readonly string[],
  trying: Trying,
): AsyncGenerator<Refunds[]> {
  for (const key of keys) {
    const [order_id = '', refund_id = ''] = key.split(' ');
    const rows = (await pool.read(
      (sql) =>
        sql`select o.id, e.data
            from orders o
            left join (select order_id, at, data from order_events
                       where order_id = ${order_id} and type = 'refunded'
                         and (${refund_id}::text = '' or data::jsonb->>'id' = ${refund_id}::text)
                         and at > coalesce((select max(at) from order_events
                                            where order_id = ${order_id} and type = 'replaced'), 0)
                      ) e on e.order_id = o.id
            where o.id = ${order_id} order by e.at limit ${REFUNDS_MAX + 1}`,
      trying,
    )) as unknown as { data: string | null }[];
    const found = rows.flatMap(({ data }) => (data === null ? [] : [JSON.parse(data)]));
    const records = found.slice(0, REFUNDS_MAX);
    if (rows.length > 0) yield [{ id: key, records, has_more: found.length > records.length }];
  }
}
