/** Webhook endpoints and their secrets, as calls see and change them. */
import type { Sql, Statement } from '../connection/connection.ts';
import type { ReadPool } from '../connection/pool.ts';
import { Failure } from '../failure.ts';

/** What a caller says of an endpoint. */
interface Wanted {
  url: string;
  /** With commas; null for all. */
  types: string | null;
  description: string | null;
  /** Null to leave it as it is; a new endpoint is enabled. */
  state: 'enabled' | 'disabled' | null;
}

export interface Endpoint extends Wanted {
  id: string;
  state: 'enabled' | 'disabled';
  /** Why it is disabled, if no call has disabled it. */
  reason: string | null;
  /** Behind the last event that was delivered or waits: the text of a cursor. */
  cursor: string;
  failing_since_s: number | null;
  created_s: number;
  /** Deliveries that wait, and those that were given up. */
  waiting: number;
  dead: number;
}

export interface Secret {
  secret: string;
  /** When it stops signing; null for the newest. */
  until_s: number | null;
}

export interface Endpoints {
  /**
   * Makes an endpoint or replaces what is said of it. Repeating it changes nothing more.
   * @param fresh what a new endpoint has: the first secret, and the cursor where it begins
   * @throws Failure limit_exceeded
   */
  put(id: string, wanted: Wanted, fresh: { secret: string; cursor: string }): Promise<Endpoint>;
  find(id: string): Promise<Endpoint | undefined>;
  /** By id, behind `after`. */
  list(limit: number, after: string): Promise<Endpoint[]>;
  /** @returns false if there is no such endpoint */
  remove(id: string): Promise<boolean>;
  /** The newest first; only those that still sign. */
  secrets(id: string): Promise<Secret[]>;
  /**
   * Adds a secret, which from now on is the newest.
   * @throws Failure limit_exceeded if too many are valid
   */
  addSecret(id: string, secret: string): Promise<boolean>;
  /** Goes on behind this cursor. @returns false if there is no such endpoint */
  move(id: string, cursor: string): Promise<boolean>;
}

const ENDPOINTS_MAX = 1000;
const SECRETS_MAX = 5;
const PUT_TRIES = 3;
/** How long the secret before goes on signing. */
export const OVERLAP_S = 24 * 3600;

export function endpoints(pool: ReadPool): Endpoints {
  return {
    async put(id, wanted, fresh) {
      for (let tries = 0; tries < PUT_TRIES; tries++) {
        await removeDeleted(pool, id);
        const made = await putOnce(pool, id, wanted, fresh);
        if (made) return (await find(pool, id)) ?? made; // removed since
      }
      throw new Failure('contention', 'the endpoint was removed again and again; nothing changed');
    },
    find: (id) => find(pool, id),
    list: (limit, after) => shown(pool, (sql) => sql`w.id > ${after}`, limit),
    remove: (id) => remove(pool, id),
    secrets: (id) => secretsOf(pool, id),
    async addSecret(id, secret) {
      const found = await secretsOf(pool, id);
      if (found.length === 0) return false;
      if (found.length >= SECRETS_MAX) {
        const detail = `${SECRETS_MAX} secrets of it are valid: wait until the oldest is not`;
        throw new Failure('limit_exceeded', detail);
      }
      await pool.read(
        (sql) => sql`
          insert into webhook_secrets (webhook_id, secret, created_us)
          select id, ${secret}, (extract(epoch from now()) * 1000000)::int8
          from webhooks where id = ${id} and state <> 'deleted'
          on conflict do nothing`,
      );
      return await touch(pool, id);
    },
    async move(id, cursor) {
      const moved = await pool.read(
        (sql) => sql`
          update webhooks set cursor = ${cursor}, failing_since_s = null, version = version + 1
          where id = ${id} and state <> 'deleted' returning id`,
      );
      return moved.length > 0;
    },
  };
}

const find = async (pool: ReadPool, id: string): Promise<Endpoint | undefined> =>
  (await shown(pool, (sql) => sql`w.id = ${id}`, 1))[0];

/** By id. @param which a condition of `w` */
async function shown(
  pool: ReadPool,
  which: (sql: Sql) => Statement,
  limit: number,
): Promise<Endpoint[]> {
  const rows = await pool.read(
    (sql) => sql`
      select w.id, w.url, w.types, w.description, w.state, w.reason, w.cursor, w.failing_since_s,
             w.created_s, count(d.event_id) - count(d.dead_s) as waiting, count(d.dead_s) as dead
      from webhooks w left join webhook_deliveries d on d.webhook_id = w.id
      where ${which(sql)} and w.state <> 'deleted'
      group by w.id order by w.id limit ${limit}::int8`,
  );
  return rows as unknown as Endpoint[];
}

/**
 * A removed endpoint may still be leased: its row stays until then, and is used again.
 * @returns undefined if something of a removed endpoint is left
 */
async function putOnce(
  pool: ReadPool,
  id: string,
  { url, types, description, state }: Wanted,
  { secret, cursor }: { secret: string; cursor: string },
): Promise<Endpoint | undefined> {
  if (!(await find(pool, id))) await assertRoom(pool);
  const [made] = await pool.read(
    (sql) => sql`
      with made as (
        insert into webhooks (id, url, types, description, state, cursor, version, created_s)
        values (${id}, ${url}, ${types}::text, ${description}::text,
                coalesce(${state}::text, 'enabled'), ${cursor},
                (extract(epoch from now()) * 1000000)::int8, extract(epoch from now())::int8)
        on conflict (id) do update set
          url = excluded.url, types = excluded.types, description = excluded.description,
          state = case when webhooks.state = 'deleted' then excluded.state
                       else coalesce(${state}::text, webhooks.state) end,
          cursor = case when webhooks.state = 'deleted' then excluded.cursor else webhooks.cursor end,
          created_s = case when webhooks.state = 'deleted' then excluded.created_s
                           else webhooks.created_s end,
          version = case when webhooks.state = 'deleted' then excluded.version
                         when webhooks.url = excluded.url
                          and webhooks.types is not distinct from excluded.types
                          and webhooks.description is not distinct from excluded.description
                          and webhooks.state = coalesce(${state}::text, webhooks.state)
                         then webhooks.version else webhooks.version + 1 end,
          reason = case when webhooks.state = coalesce(${state}::text, webhooks.state)
                        then webhooks.reason end,
          failing_since_s = case when webhooks.url = excluded.url
                                  and webhooks.state = coalesce(${state}::text, webhooks.state)
                                 then webhooks.failing_since_s end
        where webhooks.state <> 'deleted'
           or (not exists (select 1 from webhook_secrets where webhook_id = ${id})
               and not exists (select 1 from webhook_deliveries where webhook_id = ${id}))
        returning id, url, types, description, state, reason, cursor, failing_since_s, created_s,
                  version),
      first as (
        insert into webhook_secrets (webhook_id, secret, created_us)
        select id, ${secret}, version from made
        where version = (extract(epoch from now()) * 1000000)::int8 -- it is new
        returning secret)
      select id, url, types, description, state, reason, cursor, failing_since_s, created_s,
             (select count(*) from first) as secrets
      from made`,
  );
  return made && { ...(made as unknown as Endpoint), waiting: 0, dead: 0 };
}

/** Makes the worker read the endpoint anew. @returns false if there is no such endpoint */
export async function touch(pool: ReadPool, id: string): Promise<boolean> {
  const touched = await pool.read(
    (sql) => sql`
      update webhooks set version = version + 1
      where id = ${id} and state <> 'deleted' returning id`,
  );
  return touched.length > 0;
}

/** In three statements: after the first no worker can add a delivery. */
async function remove(pool: ReadPool, id: string): Promise<boolean> {
  const marked = await pool.read(
    (sql) => sql`
      update webhooks set state = 'deleted', version = version + 1 where id = ${id}
      and state <> 'deleted' returning id`,
  );
  await removeDeleted(pool, id);
  return marked.length > 0;
}

/** What is left of an endpoint whose removal was cut short, unless it has been made again since. */
export async function removeDeleted(pool: ReadPool, id: string): Promise<void> {
  const marked = await pool.read(
    (sql) => sql`select id from webhooks where id = ${id} and state = 'deleted'`,
  );
  if (marked.length === 0) return;
  await pool.read(
    (sql) => sql`
      delete from webhook_deliveries where webhook_id = ${id}
      and exists (select 1 from webhooks where id = ${id} and state = 'deleted')`,
  );
  await pool.read(
    (sql) => sql`
      delete from webhook_secrets where webhook_id = ${id}
      and exists (select 1 from webhooks where id = ${id} and state = 'deleted')`,
  );
  await pool.read(
    (sql) => sql`
      delete from webhooks where id = ${id} and state = 'deleted'
      and (lease_until is null or lease_until < now())`,
  );
}

async function assertRoom(pool: ReadPool): Promise<void> {
  const [row] = await pool.read((sql) => sql`select count(*) as n from webhooks`);
  if (Number(row?.n) < ENDPOINTS_MAX) return;
  throw new Failure('limit_exceeded', `there are ${ENDPOINTS_MAX} endpoints: remove one first`);
}

/** The newest first. Each older one is valid until a day after the next one was made. */
export async function secretsOf(pool: ReadPool, id: string): Promise<Secret[]> {
  const rows = await pool.read(
    (sql) => sql`
      select s.secret, s.created_us, extract(epoch from now())::int8 as now_s
      from webhook_secrets s join webhooks w on w.id = s.webhook_id
      where w.id = ${id} and w.state <> 'deleted' order by s.created_us desc, s.secret`,
  );
  return (rows as unknown as SecretRow[])
    .map(({ secret, now_s }, i, all) => {
      const newer = all[i - 1];
      const until_s = newer ? Math.floor(newer.created_us / 1_000_000) + OVERLAP_S : null;
      return { secret, until_s, now_s };
    })
    .filter(({ until_s, now_s }) => until_s === null || until_s > now_s)
    .slice(0, SECRETS_MAX) // concurrent calls may have added more
    .map(({ secret, until_s }) => ({ secret, until_s }));
}

interface SecretRow {
  secret: string;
  created_us: number;
  now_s: number;
}
