/**
 * What became of deliveries, as the worker writes it: nothing is written for an endpoint whose lease
 * or version is another by now.
 */
import { int8Array, textArray } from '../connection/arrays.ts';
import type { Sql, Statement } from '../connection/connection.ts';
import type { ReadPool } from '../connection/pool.ts';

/** Of an endpoint, in the version that the worker has read. */
export interface Lease {
  webhook_id: string;
  id: string;
  version: number;
}

/** An event that waits for its next try, or behind another one of its key. */
export interface Waiting {
  event_id: string;
  /** The order, user or item that it concerns. */
  key: string;
  /** The order of an endpoint's events. */
  seq: number;
  type: string;
  attempts: number;
  /** When it was tried first; until then, when it began to wait. */
  first_s: number;
  tried_s: number | null;
  next_s: number;
  error: string | null;
  /** When it was given up; null while it waits. */
  dead_s: number | null;
}

/** How a round of deliveries ended. */
export interface Round {
  /** One more than the round before. */
  number: number;
  /** Behind all that was delivered or waits. */
  cursor: string;
  failing_since_s: number | null;
  /** Why the endpoint is disabled from now on. */
  disabled: string | null;
  /** Events that wait from now on. */
  added: readonly (Waiting & { payload: string })[];
  /** Events that waited before, as they are now. */
  changed: readonly Waiting[];
  /** Events that were delivered and may be stored. */
  delivered: readonly string[];
}

/**
 * Each statement may run twice, if the answer of the first time was lost.
 * @returns whether it was written: false if lease or version are others by now
 */
export async function finish(pool: ReadPool, lease: Lease, round: Round): Promise<boolean> {
  const { webhook_id, id, version } = lease;
  const { number, cursor, failing_since_s, disabled, delivered } = round;
  const kept = columnsOf(round.added);
  const payloads = textArray(round.added.map(({ payload }) => payload));
  const written = await pool.read(
    (sql) => sql`
      with mine as (
        update webhooks
        set cursor = ${cursor}, round = ${number}::int8, failing_since_s = ${failing_since_s}::int8,
            state = case when ${disabled}::text is null then 'enabled' else 'disabled' end,
            reason = ${disabled}::text
        where id = ${webhook_id} and lease_id = ${id} and version = ${version}::int8
          and round in (${number - 1}::int8, ${number}::int8) and state <> 'deleted'
        returning id),
      kept as (
        insert into webhook_deliveries (webhook_id, event_id, key, seq, type, payload, attempts,
                                        first_s, tried_s, next_s, error, dead_s)
        select mine.id, k.event_id, k.key, k.seq, k.type, k.payload, k.attempts,
               k.first_s, k.tried_s, k.next_s, k.error, null::int8
        from mine cross join unnest(
          ${kept.event_id}::text[], ${kept.key}::text[], ${kept.seq}::int8[], ${kept.type}::text[],
          ${payloads}::text[], ${kept.attempts}::int8[], ${kept.first_s}::int8[],
          ${kept.tried_s}::int8[], ${kept.next_s}::int8[], ${kept.error}::text[])
          as k(event_id, key, seq, type, payload, attempts, first_s, tried_s, next_s, error)
        on conflict (webhook_id, event_id) do update set
          seq = excluded.seq, attempts = excluded.attempts, first_s = excluded.first_s,
          tried_s = excluded.tried_s, next_s = excluded.next_s, error = excluded.error,
          dead_s = null
        returning event_id)
      select id, (select count(*) from kept) as kept from mine`,
  );
  if (written.length === 0) return false;
  if (round.changed.length > 0) await change(pool, lease, round);
  if (delivered.length > 0) await forget(pool, lease, round);
  return true;
}

async function change(pool: ReadPool, lease: Lease, { changed, number }: Round): Promise<void> {
  const of = columnsOf(changed);
  await pool.read(
    (sql) => sql`
      with mine as (${locked(sql, lease, number)})
      update webhook_deliveries as d
      set attempts = k.attempts, first_s = k.first_s, tried_s = k.tried_s, next_s = k.next_s,
          error = k.error, dead_s = k.dead_s
      from unnest(${of.event_id}::text[], ${of.attempts}::int8[], ${of.first_s}::int8[],
                  ${of.tried_s}::int8[], ${of.next_s}::int8[], ${of.error}::text[],
                  ${of.dead_s}::int8[])
        as k(event_id, attempts, first_s, tried_s, next_s, error, dead_s)
      where d.webhook_id in (select id from mine) and d.event_id = k.event_id`,
  );
}

async function forget(pool: ReadPool, lease: Lease, { delivered, number }: Round): Promise<void> {
  await pool.read(
    (sql) => sql`
      with mine as (${locked(sql, lease, number)})
      delete from webhook_deliveries
      where webhook_id in (select id from mine) and event_id = any(${textArray(delivered)}::text[])`,
  );
}

/**
 * The endpoint, if nothing else has been written since this round. Who sends something again
 * meanwhile waits until this is written, and so has the last word.
 */
const locked = (sql: Sql, { webhook_id, id, version }: Lease, round: number): Statement =>
  sql`update webhooks set round = round
      where id = ${webhook_id} and lease_id = ${id} and version = ${version}::int8
        and round = ${round}::int8
      returning id`;

const columnsOf = (rows: readonly Waiting[]) => ({
  event_id: textArray(rows.map((row) => row.event_id)),
  key: textArray(rows.map((row) => row.key)),
  seq: int8Array(rows.map((row) => row.seq)),
  type: textArray(rows.map((row) => row.type)),
  attempts: int8Array(rows.map((row) => row.attempts)),
  first_s: int8Array(rows.map((row) => row.first_s)),
  tried_s: int8Array(rows.map((row) => row.tried_s)),
  next_s: int8Array(rows.map((row) => row.next_s)),
  error: textArray(rows.map((row) => row.error)),
  dead_s: int8Array(rows.map((row) => row.dead_s)),
});
