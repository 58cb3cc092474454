/** Lists of orders: by id, or those of one user, the newest first. */
import type { Order } from '../command.ts';
import type { ReadPool, Trying } from '../connection/pool.ts';
import type { ById, ByTime, Page, Position, Wanted } from './page.ts';
import { type ShownOrder, showOrders } from './shown.ts';

/** The columns that decide the state of an order. */
type Candidate = Pick<Order, 'paid' | 'total_cost' | 'refunded' | 'held_until'>;

export interface OrdersWanted<P extends Position> extends Wanted<P> {
  /** @param now_us the store's time in microseconds since 1970 */
  matches?: ((order: Candidate, now_us: number) => boolean) | undefined;
}

/** Orders that are looked at: for each entry that is wanted, and for a page. */
const [SEEN_FOR_ONE, SEEN_MAX] = [10, 5000];
/** Orders whose lines are read together, and lines after which a page ends early. */
const [CHUNK, LINES_MAX] = [50, 5000];

/** A page may be shorter than its limit, or empty, while there is more. */
export async function listOrders<P extends ById | ByTime>(
  pool: ReadPool,
  { limit, after, matches }: OrdersWanted<P>,
  trying: Trying,
  user_id?: string,
): Promise<Page<ShownOrder, P>> {
  const seen_max = matches ? Math.min(SEEN_FOR_ONE * limit, SEEN_MAX) : limit;
  const found = await findCandidates(pool, after, seen_max + 1, trying, user_id);
  const seen = found.slice(0, seen_max);
  const fitting = seen.filter((one) => one.is_there && (matches?.(one.order, one.now_us) ?? true));
  const wanted = fitting.slice(0, limit);
  const { rows, left } = await readInOrder(
    pool,
    wanted.map(({ id }) => id),
    trying,
  );
  // Behind the last that was looked at, or, if the page is full, behind the last that is shown.
  const is_full = left.length > 0 || fitting.length > limit;
  const last = is_full ? wanted.at(-1 - left.length) : seen.at(-1);
  const more = is_full || found.length > seen_max;
  // The second read may find an order that was replaced in between, by one of another user.
  const shown = rows.filter(
    (order) =>
      (user_id === undefined || order.user_id === user_id) &&
      (matches?.(order, order.now_us) ?? true),
  );
  return more && last ? { rows: shown, next: last.position as P } : { rows: shown };
}

interface Seen {
  id: string;
  position: ById | ByTime;
  /** False for an entry of an order that has since been replaced. */
  is_there: boolean;
  order: Candidate;
  now_us: number;
}

async function findCandidates(
  pool: ReadPool,
  after: ById | ByTime,
  limit: number,
  trying: Trying,
  user_id: string | undefined,
): Promise<Seen[]> {
  const rows = await pool.read((sql) => {
    const [at, id] = after.length === 2 ? after : [0, after[0]];
    if (user_id === undefined) {
      return sql`
        select id, 0::int8 as at, true as is_there, paid, total_cost, refunded, held_until,
               (extract(epoch from now()) * 1000000)::int8 as now_us
        from orders where id > ${id} order by id limit ${limit}`;
    }
    return sql`
      select l.order_id as id, l.created_at as at, o.id is not null as is_there,
             o.paid, o.total_cost, o.refunded, o.held_until,
             (extract(epoch from now()) * 1000000)::int8 as now_us
      from (select created_at, order_id from orders_of_user
            where user_id = ${user_id} and (created_at, order_id) < (${at}::int8, ${id}::text)
            order by created_at desc, order_id desc limit ${limit}) l
      left join orders o
        on o.id = l.order_id and o.user_id = ${user_id} and coalesce(o.created_at, 0) = l.created_at
      order by l.created_at desc, l.order_id desc`;
  }, trying);
  return rows.map((row) => {
    const { id, at, is_there, now_us, ...order } = row as unknown as CandidateRow;
    return { id, position: user_id === undefined ? [id] : [at, id], is_there, now_us, order };
  });
}

type CandidateRow = Candidate & { id: string; at: number; is_there: boolean; now_us: number };

/**
 * Reads the orders with their lines, in the order of the ids. It ends early if they have many
 * lines; an order that was removed meanwhile is left out.
 * @returns the ids that were not read as `left`
 */
async function readInOrder(
  pool: ReadPool,
  ids: readonly string[],
  trying: Trying,
): Promise<{ rows: ShownOrder[]; left: readonly string[] }> {
  const rows: ShownOrder[] = [];
  let lines = 0;
  for (let i = 0; i < ids.length; i += CHUNK) {
    const chunk = ids.slice(i, i + CHUNK);
    const found = new Map<string, ShownOrder>();
    for await (const portion of showOrders(pool, chunk, trying)) {
      for (const order of portion) found.set(order.id, order);
    }
    for (const [j, id] of chunk.entries()) {
      const order = found.get(id);
      if (!order) continue;
      lines += order.lines.length;
      if (lines > LINES_MAX && rows.length > 0) return { rows, left: ids.slice(i + j) };
      rows.push(order);
    }
  }
  return { rows, left: [] };
}
