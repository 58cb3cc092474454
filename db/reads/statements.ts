/**
 * Statements of account: every change of a credit or a stock, with the balance after it. Balances
 * are computed backwards from the current one, over the whole history, in one snapshot.
 */
import type { Sql, Statement } from '../connection/connection.ts';
import type { ReadPool, Trying } from '../connection/pool.ts';
import { Failure } from '../failure.ts';
import { type ByTime, type Page, pageOf, type Wanted } from './page.ts';

export interface Movement {
  /** In microseconds since 1970; 0 if unknown. */
  at: number;
  id: string;
  amount: number;
  reason: string;
  order_id: string | null;
  /** Who made it, if that is known. */
  principal: string | null;
  /** The credit or the stock after it; null if no amount can be as large, or as far below 0. */
  balance: number | null;
}

/** A paid order is the movement of its checkout. */
export async function creditMovements(
  pool: ReadPool,
  user_id: string,
  { limit, after: [at, id] }: Wanted<ByTime>,
  trying: Trying,
): Promise<Page<Movement, ByTime>> {
  const rows = await pool.read(
    (sql) => sql`
      with moves as (
        select ${timeOfMovement(sql)} as at,
               m.id, m.amount, m.reason, m.order_id, m.principal
        from credit_movements m where m.user_id = ${user_id}
        union all
        select coalesce(o.paid_at, o.created_at, 0), o.id, -o.total_cost, 'checkout', o.id, o.paid_by
        from orders_of_user l join orders o on o.id = l.order_id
        where l.user_id = ${user_id} and o.user_id = ${user_id} and o.paid
          and coalesce(o.created_at, 0) = l.created_at
      ), summed as (${summed(sql)})
      select s.at, s.id, s.amount, s.reason, s.order_id, s.principal, ${balance(sql, sql`u.credit`)}
      from users u
      left join summed s on (s.at, s.id) < (${at}::int8, ${id}::text)
      where u.id = ${user_id} order by s.at desc, s.id desc limit ${limit + 1}`,
    trying,
  );
  if (rows.length === 0) throw new Failure('user_not_found', `no user ${user_id}`);
  return pageOfMovements(rows, limit);
}

export async function stockMovements(
  pool: ReadPool,
  item_id: string,
  { limit, after: [at, id] }: Wanted<ByTime>,
  trying: Trying,
): Promise<Page<Movement, ByTime>> {
  const rows = await pool.read(
    (sql) => sql`
      with moves as (
        select ${timeOfMovement(sql)} as at,
               m.id, m.amount, m.reason, m.order_id, m.principal
        from stock_movements m where m.item_id = ${item_id}
        union all
        select coalesce(o.paid_at, o.created_at, 0), o.id, -l.quantity, 'checkout', o.id, o.paid_by
        from order_lines l join orders o on o.id = l.order_id
        where l.item_id = ${item_id} and o.paid
      ), summed as (${summed(sql)})
      select s.at, s.id, s.amount, s.reason, s.order_id, s.principal, ${balance(sql, sql`i.stock`)}
      from items i
      left join summed s on (s.at, s.id) < (${at}::int8, ${id}::text)
      where i.id = ${item_id} order by s.at desc, s.id desc limit ${limit + 1}`,
    trying,
  );
  if (rows.length === 0) throw new Failure('item_not_found', `no item ${item_id}`);
  return pageOfMovements(rows, limit);
}

/** When a movement `m` happened. Older ones have only the start of their transaction. */
export const timeOfMovement = (sql: Sql): Statement =>
  sql`coalesce(m.at, (extract(epoch from m.created_at) * 1000000)::int8)`;

/** Each of the `moves` with the sum of those after it. */
const summed = (sql: Sql): Statement => sql`
  select at, id, amount, reason, order_id, principal,
         coalesce(sum(amount) over (order by at desc, id desc rows between unbounded preceding
                                    and 1 preceding), 0) as later
  from moves`;

/** What was there before the later moves. The sum may pass every int8 on its way. */
const balance = (sql: Sql, now: Statement): Statement =>
  sql`case when abs(${now} - s.later) <= ${Number.MAX_SAFE_INTEGER}::int8
           then (${now} - s.later)::int8 end as balance`;

/** For an owner without movements there is one row of nulls. */
const pageOfMovements = (rows: readonly Record<string, unknown>[], limit: number) =>
  pageOf(
    (rows as unknown as Movement[]).filter(({ id }) => id !== null),
    limit,
    ({ at, id }): ByTime => [at, id],
  );
