/** The invariants that explain every number, checked in one snapshot of the store. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Connection, Sql, Statement } from '../connection/connection.ts';
import { beginAudit } from '../connection/dialect.ts';
import { contraction } from '../connection/session.ts';
import { isConflict } from '../failure.ts';

export interface Finding {
  /** The rule that must hold. */
  invariant: string;
  /** How many rows it was checked on. */
  rows: number;
  violations: number;
  /** The first violations: each row's id with the figures that disagree. */
  examples: string[];
}

const EXAMPLES_MAX = 10;

/**
 * Checks every invariant in one read-only snapshot, so it may run under full load.
 * @throws Failure store_unavailable if the connection is lost, or an error of the store
 */
export function audit(connection: Connection, tries_max = 10): Promise<Finding[]> {
  return connection.whileAlive(tryAuditing(connection, tries_max));
}

async function tryAuditing({ sql, gated }: Connection, tries_max: number): Promise<Finding[]> {
  for (let tries = 1; ; tries++) {
    await beginAudit(sql, gated, tries);
    try {
      const findings: Finding[] = [];
      for (const { invariant, over, violations } of checks(sql)) {
        const [count] = await over;
        // Only those that are shown, and a count: many violations must not fill the memory.
        const first = await sql`
          select v.id, v.found, count(*) over () as total from (${violations}) as v
          order by v.id limit ${EXAMPLES_MAX}`;
        const examples = first.map((row) => `${row.id}: ${row.found}`);
        const total = Number(first[0]?.total ?? 0);
        findings.push({ invariant, rows: Number(count?.rows), violations: total, examples });
      }
      await sql`commit`;
      return findings;
    } catch (error) {
      await sql`rollback`.catch(() => {});
      if (!isConflict(error) || tries === tries_max) throw error;
    }
    await sleep(50 + 150 * Math.random());
  }
}

interface Check {
  invariant: string;
  over: Statement;
  violations: Statement;
}

const checks = (sql: Sql): Check[] =>
  [
    ...[creditCheck, stockCheck, totalCheck, paymentCheck, paidCheck, signCheck],
    ...[holdsCheck, heldCheck, listCheck, refundCheck, refundedLineCheck, logCheck],
  ].map((check) => check(sql));

const creditCheck = (sql: Sql): Check => ({
  invariant: "a user's credit is its movements less its paid orders",
  over: sql`select count(*) as rows from users`,
  violations: sql`
    select coalesce(u.id, m.user_id, p.user_id) as id,
           concat('credit ', coalesce(u.credit::text, 'missing'), ', movements ',
                  coalesce(m.amount, 0)::text, ', paid orders ', coalesce(p.amount, 0)::text) as found
    from users u
    full join (select user_id, sum(amount) as amount from credit_movements group by user_id) m
      on m.user_id = u.id
    full join (select user_id, sum(total_cost) as amount from orders where paid group by user_id) p
      on p.user_id = coalesce(u.id, m.user_id)
    where u.id is null or u.credit <> coalesce(m.amount, 0) - coalesce(p.amount, 0)`,
});

const stockCheck = (sql: Sql): Check => ({
  invariant: "an item's stock is its movements less its lines in paid orders",
  over: sql`select count(*) as rows from items`,
  violations: sql`
    select coalesce(i.id, m.item_id, p.item_id) as id,
           concat('stock ', coalesce(i.stock::text, 'missing'), ', movements ',
                  coalesce(m.amount, 0)::text, ', paid lines ', coalesce(p.amount, 0)::text) as found
    from items i
    full join (select item_id, sum(amount) as amount from stock_movements group by item_id) m
      on m.item_id = i.id
    full join (select l.item_id, sum(l.quantity) as amount
               from order_lines l join orders o on o.id = l.order_id
               where o.paid group by l.item_id) p
      on p.item_id = coalesce(i.id, m.item_id)
    where i.id is null or i.stock <> coalesce(m.amount, 0) - coalesce(p.amount, 0)`,
});

const totalCheck = (sql: Sql): Check => ({
  invariant: "an order's total is the sum of its lines",
  over: sql`select count(*) as rows from orders`,
  violations: sql`
    select coalesce(o.id, l.order_id) as id,
           concat('total ', coalesce(o.total_cost::text, 'missing'), ', lines ',
                  coalesce(l.amount, 0)::text) as found
    from orders o
    full join (select order_id, sum(quantity::numeric * unit_price::numeric) as amount
               from order_lines group by order_id) l
      on l.order_id = o.id
    where o.id is null or o.total_cost <> coalesce(l.amount, 0)`,
});

const paymentCheck = (sql: Sql): Check => ({
  invariant: "an order's standing payment is its movements",
  over: sql`select count(*) as rows from orders`,
  violations: sql`
    select coalesce(o.id, m.order_id) as id,
           concat('payment ', coalesce(o.payment, 0)::text, ', movements ',
                  coalesce(m.amount, 0)::text) as found
    from orders o
    full join (select order_id, sum(amount) as amount from credit_movements
               where order_id is not null and reason <> 'refund' group by order_id) m
      on m.order_id = o.id
    where coalesce(o.payment, 0) + coalesce(m.amount, 0) <> 0`,
});

const paidCheck = (sql: Sql): Check => ({
  invariant: 'a paid order has lines and no other payment',
  over: sql`select count(*) as rows from orders where paid`,
  violations: sql`
    select o.id, concat('payment ', coalesce(o.payment::text, 'none'), ', lines ',
                        coalesce(l.lines, 0)::text) as found
    from orders o
    left join (select order_id, count(*) as lines from order_lines group by order_id) l
      on l.order_id = o.id
    where o.paid and (o.payment is not null or l.order_id is null)`,
});

/** Before the contraction, older orders have no entries. */
const listCheck = (sql: Sql): Check => ({
  invariant: 'each order is in the list of its user',
  over: sql`select count(*) as rows from orders where exists (${contraction(sql)})`,
  violations: sql`
    select o.id, concat('user ', o.user_id, ', created_at ', coalesce(o.created_at, 0)::text) as found
    from orders o
    left join orders_of_user l
      on l.user_id = o.user_id and l.created_at = coalesce(o.created_at, 0) and l.order_id = o.id
    where l.order_id is null and exists (${contraction(sql)})`,
});

/** The record of a refund is an event. A replaced order starts again without refunds. */
const refundCheck = (sql: Sql): Check => ({
  invariant: "an order's refunded amount is that of its lines, its movements and its records",
  over: sql`select count(*) as rows from orders where refunded is not null`,
  violations: sql`
    select coalesce(o.id, m.order_id, e.order_id) as id,
           concat('refunded ', coalesce(o.refunded, 0)::text, ', lines ',
                  coalesce(l.amount, 0)::text, ', movements ', coalesce(m.amount, 0)::text,
                  ', records ', coalesce(e.amount, 0)::text) as found
    from orders o
    full join (select order_id, sum(amount) as amount from credit_movements
               where order_id is not null and reason = 'refund' group by order_id) m
      on m.order_id = o.id
    full join (select order_id,
                      sum(case when type = 'refunded' then (data::jsonb->>'amount')::numeric
                               else -(data::jsonb->>'refunded')::numeric end) as amount
               from order_events where type in ('refunded', 'replaced') group by order_id) e
      on e.order_id = coalesce(o.id, m.order_id)
    left join (select order_id, sum(refunded::numeric * unit_price::numeric) as amount
               from order_lines where refunded is not null group by order_id) l
      on l.order_id = o.id
    where coalesce(o.refunded, 0) <> coalesce(l.amount, 0)
       or coalesce(o.refunded, 0) <> coalesce(m.amount, 0)
       or coalesce(o.refunded, 0) <> coalesce(e.amount, 0)`,
});

const refundedLineCheck = (sql: Sql): Check => ({
  invariant: 'no more of a line is refunded than was bought',
  over: sql`select count(*) as rows from order_lines where refunded is not null`,
  violations: sql`
    select concat('order ', order_id, ', item ', item_id) as id,
           concat('refunded ', refunded::text, ', quantity ', quantity::text) as found
    from order_lines where refunded > quantity`,
});

const signCheck = (sql: Sql): Check => ({
  invariant: 'no credit, stock, price, total or quantity is below zero',
  over: sql`
    select (select count(*) from users) + (select count(*) from items)
         + (select count(*) from orders) + (select count(*) from order_lines) as rows`,
  violations: sql`
    select concat('user ', id) as id, concat('credit ', credit::text) as found
      from users where credit < 0
    union all
    select concat('item ', id), concat('stock ', stock::text, ', price ', price::text)
      from items where stock < 0 or price < 0
    union all
    select concat('order ', id), concat('total ', total_cost::text)
      from orders where total_cost < 0
    union all
    select concat('order ', order_id, ', item ', item_id), concat('quantity ', quantity::text)
      from order_lines where quantity < 1 or unit_price < 0`,
});

/** Rows that expire soon are left out: they are deleted in no particular order. */
const logCheck = (sql: Sql): Check => ({
  invariant: 'the positions of the log have no gaps',
  over: sql`select count(*) as rows from batches`,
  violations: sql`
    select concat('stream ', n.stream::text, ', position ', n.position::text) as id,
           concat('behind ', n.before::text) as found
    from (select stream, position, lag(position) over places as before,
                 lag(expires_at) over places as before_expires_at
          from batches window places as (partition by stream order by position)) n
    where n.position <> n.before + 1 and n.before_expires_at > now() + interval '15 minutes'`,
});

/** Holds that expired before the item's last change no longer count: its time never goes back. */
const holdsCheck = (sql: Sql): Check => ({
  invariant: 'the holds of an item are the lines of the orders that hold it',
  over: sql`select count(*) as rows from items where holds is not null`,
  violations: sql`
    select i.id, concat('until ', h.until_s::text, ', held ', coalesce(sum(h.held), 0)::text,
                        ', lines ', coalesce(sum(h.lines), 0)::text) as found
    from (${heldQuantities(sql)}
          union all
          select l.item_id, o.held_until, 0, l.quantity
          from orders o join order_lines l on l.order_id = o.id
          where o.held_until is not null) as h(item_id, until_s, held, lines)
    join items i on i.id = h.item_id
    where h.until_s * 1000000 > coalesce(i.changed_at, 0)
    group by i.id, h.until_s having sum(h.held) <> sum(h.lines)`,
});

const heldCheck = (sql: Sql): Check => ({
  invariant: 'no item is held beyond its stock',
  over: sql`select count(*) as rows from items where holds is not null`,
  violations: sql`
    select i.id, concat('stock ', i.stock::text, ', held ', sum(h.held)::text) as found
    from (${heldQuantities(sql)}) as h(item_id, until_s, held, lines)
    join items i on i.id = h.item_id
    where h.until_s * 1000000 > coalesce(i.changed_at, 0)
    group by i.id, i.stock having sum(h.held) > i.stock`,
});

/** A row for each second until which something of an item is held. */
const heldQuantities = (sql: Sql): Statement => sql`
  select i.id, (e.pair->>0)::int8, (e.pair->>1)::int8, 0::int8
  from items i cross join lateral jsonb_array_elements(i.holds::jsonb) as e(pair)
  where i.holds is not null`;
