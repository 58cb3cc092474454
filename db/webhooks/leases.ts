/** What the worker of webhooks reads. An endpoint is leased to one worker at a time. */
import { int8Array, textArray } from '../connection/arrays.ts';
import type { ReadPool } from '../connection/pool.ts';
import { OVERLAP_S, removeDeleted, type Secret, secretsOf } from './endpoints.ts';
import { finish, type Lease, type Round, type Waiting } from './rounds.ts';

export interface Leased {
  lease: Lease;
  url: string;
  /** With commas; null for all. */
  types: string | null;
  cursor: string;
  /** The last one that was written. */
  round: number;
  failing_since_s: number | null;
  /** There are deliveries that were given up. */
  has_dead: boolean;
  /** The newest first. */
  secrets: readonly Secret[];
  waiting: readonly Waiting[];
  now_s: number;
}

export interface Leases {
  /** Endpoints that may be leased. */
  available(): Promise<string[]>;
  /** @returns undefined if another worker has it, or it is not enabled */
  acquire(webhook_id: string, lease_ms: number): Promise<Leased | undefined>;
  /** @returns those whose lease and version are still the same, which are renewed */
  renew(leases: readonly Lease[], lease_ms: number): Promise<Set<Lease>>;
  /** The payloads of events that wait, in their order, up to the one that passes these bytes. */
  payloads(
    lease: Lease,
    event_ids: readonly string[],
    bytes_max: number,
  ): Promise<Map<string, string>>;
  /** @returns whether it was written: false if lease or version are others by now */
  finish(lease: Lease, round: Round): Promise<boolean>;
  release(lease: Lease): Promise<void>;
  /** Removes deliveries that were given up so long ago, and what is left of removed endpoints. */
  tidy(dead_for_s: number): Promise<void>;
  /** For gauges. */
  summary(): Promise<Summary>;
  /** Ids of endpoints that fail, or that Kassa has disabled: at most `limit`, in their order. */
  inTrouble(limit: number): Promise<string[]>;
}

export interface Summary {
  enabled: number;
  /** Of enabled endpoints. */
  waiting: number;
  /** For how long the oldest has waited; 0 if none waits. */
  waiting_s: number;
  dead: number;
  /** Not by a call. */
  disabled: number;
  failing: number;
}

export function leases(pool: ReadPool): Leases {
  return {
    async available() {
      const rows = await pool.read(
        (sql) => sql`
          select id from webhooks
          where state = 'enabled' and (lease_id is null or lease_until < now())
          order by id`,
      );
      return rows.map(({ id }) => String(id));
    },
    async acquire(webhook_id, lease_ms) {
      const id = crypto.randomUUID();
      const [row] = await pool.read(
        (sql) => sql`
          update webhooks
          set lease_id = ${id}, lease_until = now() + ${lease_ms}::int8 * interval '1 millisecond'
          where id = ${webhook_id} and state = 'enabled'
            and (lease_id is null or lease_id = ${id} or lease_until < now())
          returning url, types, cursor, round, failing_since_s, version,
                    extract(epoch from now())::int8 as now_s,
                    exists (select 1 from webhook_deliveries
                            where webhook_id = ${webhook_id} and dead_s is not null) as has_dead`,
      );
      if (!row) return undefined;
      const { version, ...leased } = row as unknown as Omit<Leased, 'lease'> & { version: number };
      const lease = { webhook_id, id, version };
      const secrets = await secretsOf(pool, webhook_id);
      return { ...leased, lease, secrets, waiting: await waitingOf(pool, webhook_id) };
    },
    async renew(all, lease_ms) {
      const rows = await pool.read(
        (sql) => sql`
          update webhooks as w set lease_until = now() + ${lease_ms}::int8 * interval '1 millisecond'
          from unnest(${textArray(all.map(({ webhook_id }) => webhook_id))}::text[],
                      ${textArray(all.map(({ id }) => id))}::text[],
                      ${int8Array(all.map(({ version }) => version))}::int8[])
            as k(webhook_id, lease_id, version)
          where w.id = k.webhook_id and w.lease_id = k.lease_id and w.version = k.version
            and w.state = 'enabled'
          returning w.lease_id`,
      );
      const renewed = new Set(rows.map(({ lease_id }) => lease_id));
      return new Set(all.filter(({ id }) => renewed.has(id)));
    },
    async payloads({ webhook_id }, event_ids, bytes_max) {
      const rows = await pool.read(
        (sql) => sql`
          select event_id, payload from (
            select event_id, payload, seq,
                   sum(octet_length(payload)) over (order by seq, event_id)
                     - octet_length(payload) as bytes_before
            from webhook_deliveries
            where webhook_id = ${webhook_id} and event_id = any(${textArray(event_ids)}::text[])) d
          where bytes_before < ${bytes_max}::int8`,
      );
      return new Map(rows.map(({ event_id, payload }) => [String(event_id), String(payload)]));
    },
    finish: (lease, round) => finish(pool, lease, round),
    async release({ webhook_id, id }) {
      await pool.read(
        (sql) => sql`
          update webhooks set lease_id = null, lease_until = null
          where id = ${webhook_id} and lease_id = ${id}`,
      );
    },
    async tidy(dead_for_s) {
      const removed = await pool.read(
        (sql) => sql`select id from webhooks where state = 'deleted'`,
      );
      for (const { id } of removed) await removeDeleted(pool, String(id));
      await pool.read(
        (sql) => sql`
          delete from webhook_deliveries
          where dead_s < extract(epoch from now())::int8 - ${dead_for_s}::int8
             or not exists (select 1 from webhooks where id = webhook_id)`,
      );
      await pool.read(
        (sql) => sql`
          delete from webhook_secrets as s
          where not exists (select 1 from webhooks where id = s.webhook_id)
             or exists (select 1 from webhook_secrets n where n.webhook_id = s.webhook_id
                        and n.created_us > s.created_us
                        and n.created_us < (extract(epoch from now()) - ${2 * OVERLAP_S}::int8) * 1000000)`,
      );
    },
    async summary() {
      const [row] = await pool.read(
        (sql) => sql`
          select (select count(*) from webhook_deliveries d join webhooks w on w.id = d.webhook_id
                  where d.dead_s is null and w.state = 'enabled') as waiting,
                 (select coalesce(extract(epoch from now())::int8 - min(d.first_s), 0)
                  from webhook_deliveries d join webhooks w on w.id = d.webhook_id
                  where d.dead_s is null and w.state = 'enabled') as waiting_s,
                 (select count(*) from webhooks where state = 'enabled') as enabled,
                 (select count(*) from webhook_deliveries where dead_s is not null) as dead,
                 (select count(*) from webhooks
                  where state = 'disabled' and reason is not null) as disabled,
                 (select count(*) from webhooks
                  where state = 'enabled' and failing_since_s is not null) as failing`,
      );
      return row as unknown as Summary;
    },
    async inTrouble(limit) {
      const rows = await pool.read(
        (sql) => sql`
          select id from webhooks
          where (state = 'enabled' and failing_since_s is not null)
             or (state = 'disabled' and reason is not null)
          order by id limit ${limit}::int8`,
      );
      return rows.map(({ id }) => String(id));
    },
  };
}

async function waitingOf(pool: ReadPool, webhook_id: string): Promise<Waiting[]> {
  const rows = await pool.read(
    (sql) => sql`
      select event_id, key, seq, type, attempts, first_s, tried_s, next_s, error, dead_s
      from webhook_deliveries where webhook_id = ${webhook_id} and dead_s is null order by seq`,
  );
  return rows as unknown as Waiting[];
}
