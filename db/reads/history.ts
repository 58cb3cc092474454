/** The history of an order, from its own row, its events and the payments towards it. */
import type { ReadPool, Trying } from '../connection/pool.ts';
import { Failure } from '../failure.ts';
import { ofUser } from './orders.ts';
import { type ByTime, PAGE_MAX_BYTES, type Page, pageOf, type Wanted } from './page.ts';
import { timeOfMovement } from './statements.ts';

export interface Happening {
  /** In microseconds since 1970; 0 if unknown. */
  at: number;
  /** Decides the order of what happened at the same time. */
  id: string;
  type: string;
  /** The text of a JSON object. */
  data: string;
  /** Who did it, if that is known and `data` does not say. */
  principal: string | null;
}

/**
 * A cancelled checkout appears by its movement; its cancel by an event or, in older histories,
 * by its movement. What happened to an earlier order of this id is left out.
 */
export async function orderHistory(
  pool: ReadPool,
  order_id: string,
  { limit, after: [at, id], only_user }: Wanted<ByTime>,
  trying: Trying,
): Promise<Page<Happening, ByTime>> {
  const rows = await pool.read(
    (sql) => sql`
      with own as (
        select id, user_id, paid, total_cost, paid_at, paid_by,
               coalesce(created_at, 0) as made_at
        from orders where id = ${order_id} ${ofUser(sql, only_user)}
      ), happened as (
        select o.made_at as at, ''::text as id, 'created'::text as type, '{}'::text as data,
               null::text as principal
        from own o
        union all
        select coalesce(o.paid_at, o.made_at), 'paid', 'paid',
               concat('{"amount":', o.total_cost::text, '}'), o.paid_by
        from own o where o.paid
        union all
        select e.at, 'event', e.type, e.data, null::text
        from own o join order_events e on e.order_id = o.id
        where e.at >= o.made_at and e.type <> 'replaced'
        union all
        select ${timeOfMovement(sql)}, m.id,
               case m.reason when 'pay' then 'payment' when 'checkout' then 'paid' else 'cancelled' end,
               concat('{"amount":', abs(m.amount)::text, '}'), m.principal
        from own o join credit_movements m on m.user_id = o.user_id and m.order_id = o.id
        where ${timeOfMovement(sql)} >= o.made_at
          and (m.reason in ('pay', 'checkout') or (m.reason = 'cancel' and m.at is null))
      )
      select h.at, h.id, h.type, h.data, h.principal, h.found
      from own o
      left join (select at, id, type, data, principal, found
                 from (select at, id, type, data, principal, count(*) over () as found,
                              sum(length(data)) over (order by at, id) - length(data) as bytes_before
                       from (select at, id, type, data, principal from happened
                             where (at, id) > (${at}::int8, ${id}::text)
                             order by at, id limit ${limit + 1}) wanted) sized
                 where bytes_before < ${PAGE_MAX_BYTES}::int8) h on true
      order by h.at, h.id`,
    trying,
  );
  if (rows.length === 0) throw new Failure('order_not_found', `no order ${order_id}`);
  const found = (rows as unknown as (Happening & { found: number })[]).filter(
    ({ type }) => type !== null,
  );
  return pageOf(found, limit, ({ at, id }): ByTime => [at, id], found[0]?.found);
}
