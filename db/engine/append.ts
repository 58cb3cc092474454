/** Writes what no decision reads: movements, events of orders, and metadata. */
import type { CreditMovement, Metadata, OrderEvent, StockMovement } from '../command.ts';
import { int8Array, textArray } from '../connection/arrays.ts';
import type { Sql, Statement } from '../connection/connection.ts';

export function appendCreditMovements(sql: Sql, movements: readonly CreditMovement[]): Statement[] {
  if (movements.length === 0) return [];
  const owners = movements.map((movement) => movement.user_id);
  return [appendMovements(sql, sql`credit_movements`, sql`user_id`, owners, movements)];
}

export function appendStockMovements(sql: Sql, movements: readonly StockMovement[]): Statement[] {
  if (movements.length === 0) return [];
  const owners = movements.map((movement) => movement.item_id);
  return [appendMovements(sql, sql`stock_movements`, sql`item_id`, owners, movements)];
}

/** @param owner the column of the user or the item */
const appendMovements = (
  sql: Sql,
  table: Statement,
  owner: Statement,
  owners: readonly string[],
  movements: readonly (CreditMovement | StockMovement)[],
): Statement => {
  const known = movements.some(({ principal }) => typeof principal === 'string');
  // Where authentication is off, the column costs nothing.
  const by = known ? sql`, principal` : sql``;
  const names = known
    ? sql`, ${textArray(movements.map((m) => m.principal ?? null))}::text[]`
    : sql``;
  return sql`
      insert into ${table} (${owner}, id, amount, reason, order_id, at${by})
      select n.${owner}, n.id, n.amount, n.reason, n.order_id, n.at${known ? sql`, n.principal` : sql``}
      from unnest(${textArray(owners)}::text[],
                  ${textArray(movements.map(movementId))}::text[],
                  ${int8Array(movements.map((m) => m.amount))}::int8[],
                  ${textArray(movements.map((m) => m.reason))}::text[],
                  ${textArray(movements.map((m) => m.order_id))}::text[],
                  ${int8Array(movements.map((m) => m.at ?? null))}::int8[]${names})
        as n(${owner}, id, amount, reason, order_id, at${by})`;
};

/**
 * The checkout of an order that is cancelled becomes a movement at the same moment. In a statement
 * it stands where the order stood: directly behind its id, so that no page shows it again.
 */
const movementId = ({ order_id }: CreditMovement | StockMovement): string =>
  order_id === null ? crypto.randomUUID() : `${order_id}~${crypto.randomUUID()}`;

export function appendOrderEvents(
  sql: Sql,
  events: readonly (OrderEvent & { at: number })[],
): Statement[] {
  if (events.length === 0) return [];
  return [
    sql`insert into order_events (order_id, at, type, data)
        select n.order_id, n.at, n.type, n.data
        from unnest(${textArray(events.map((e) => e.order_id))}::text[],
                    ${int8Array(events.map((e) => e.at))}::int8[],
                    ${textArray(events.map((e) => e.type))}::text[],
                    ${textArray(events.map((e) => JSON.stringify(e.data)))}::text[])
          as n(order_id, at, type, data)`,
  ];
}

/** Of orders that were removed or replaced. */
export const clearMetadata = (sql: Sql, order_ids: readonly string[]): Statement[] =>
  order_ids.length === 0
    ? []
    : [sql`delete from order_metadata where id = any(${textArray(order_ids)}::text[])`];

/** For new rows only. */
export const writeMetadata = (sql: Sql, metadata: readonly Metadata[]): Statement[] =>
  (['user', 'item', 'order'] as const).flatMap((of) => {
    const rows = metadata.filter((one) => one.of === of);
    if (rows.length === 0) return [];
    return sql`insert into ${metadataOf[of](sql)} (id, data)
               select n.id, n.data
               from unnest(${textArray(rows.map((row) => row.id))}::text[],
                           ${textArray(rows.map((row) => row.data))}::text[]) as n(id, data)`;
  });

const metadataOf = {
  user: (sql: Sql) => sql`user_metadata`,
  item: (sql: Sql) => sql`item_metadata`,
  order: (sql: Sql) => sql`order_metadata`,
};
