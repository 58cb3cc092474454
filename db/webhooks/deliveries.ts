/** Deliveries that wait or were given up, as calls see them and send them again. */
import { textArray } from '../connection/arrays.ts';
import type { ReadPool } from '../connection/pool.ts';
import { touch } from './endpoints.ts';
import type { Waiting } from './rounds.ts';

export interface Delivery extends Omit<Waiting, 'key' | 'seq'> {
  payload: string;
}

export interface Deliveries {
  /** By the id of the event, behind `after`. @param dead undefined for both */
  list(webhook_id: string, limit: number, after: string, dead?: boolean): Promise<Delivery[]>;
  /**
   * Makes them due now, those that were given up too.
   * @param event_ids undefined for all of the endpoint
   * @returns how many there are
   */
  redeliver(webhook_id: string, event_ids?: readonly string[]): Promise<number>;
}

export function deliveries(pool: ReadPool): Deliveries {
  return {
    async list(webhook_id, limit, after, dead) {
      const rows = await pool.read(
        (sql) => sql`
          select event_id, type, attempts, first_s, tried_s, next_s, error, dead_s, payload
          from webhook_deliveries
          where webhook_id = ${webhook_id} and event_id > ${after}
            and (${dead ?? null}::bool is null or (dead_s is not null) = ${dead ?? null}::bool)
          order by event_id limit ${limit}::int8`,
      );
      return rows as unknown as Delivery[];
    },
    async redeliver(webhook_id, event_ids) {
      const ids = event_ids === undefined ? null : textArray(event_ids);
      // The version first: its worker then no longer writes what it knew of them.
      if (!(await touch(pool, webhook_id))) return 0;
      const again = await pool.read(
        (sql) => sql`
          with endpoint as (
            update webhooks set failing_since_s = null, version = version + 1
            where id = ${webhook_id} returning id)
          update webhook_deliveries
          set next_s = 0, dead_s = null, attempts = case when dead_s is null then attempts else 0 end
          where webhook_id in (select id from endpoint)
            and (${ids}::text[] is null or event_id = any(${ids}::text[]))
          returning event_id`,
      );
      return again.length;
    },
  };
}
