/** API keys in the store: calls and tools make and revoke them, and every process reads them. */
import { int8Array, textArray } from '../connection/arrays.ts';
import type { Sql, Statement } from '../connection/connection.ts';
import type { ReadPool } from '../connection/pool.ts';
import { Failure } from '../failure.ts';

interface Described {
  id: string;
  name: string | null;
  /** Who calls with it. Keys that replace each other have the same. */
  principal: string;
  /** With commas. */
  scopes: string;
  user_id: string | null;
  per_s: number | null;
  in_flight: number | null;
}

export interface WantedKey extends Described {
  /** From now on; null for a key that does not expire. */
  ttl_s: number | null;
}

/** A key as people see it, without its hash. */
export interface Key extends Described {
  state: 'live' | 'expired' | 'revoked';
  created_s: number;
  expires_s: number | null;
  revoked_s: number | null;
  /** To a minute or so; null if it was never used. */
  used_s: number | null;
}

/** A key as processes check it. */
export interface LiveKey extends Omit<Described, 'name'> {
  hash: string;
  /** Until it expires. */
  left_ms: number | null;
}

export interface Keys {
  /**
   * @param hash of its text, which stays with the caller
   * @throws Failure already_exists, limit_exceeded
   */
  create(wanted: WantedKey, hash: string): Promise<Key>;
  find(id: string): Promise<Key | undefined>;
  /** By id, behind `after`. */
  list(limit: number, after: string): Promise<Key[]>;
  /** Repeating it changes nothing more. @returns undefined if there is no such key */
  revoke(id: string): Promise<Key | undefined>;
  /** Those that are neither revoked nor expired. @throws Failure at the deadline */
  live(deadline_at: number): Promise<LiveKey[]>;
  /**
   * Notes their last uses.
   * @param ago_s by id of the key: how many seconds ago it was used
   * @throws Failure at the deadline
   */
  noteUses(ago_s: ReadonlyMap<string, number>, deadline_at: number): Promise<void>;
}

/** Every process has them all in memory. */
const LIVE_MAX = 1000;

export function keys(pool: Pick<ReadPool, 'read'>): Keys {
  return {
    async create({ id, name, principal, scopes, user_id, per_s, in_flight, ttl_s }, hash) {
      await assertRoom(pool);
      await pool.read(
        (sql) => sql`
          insert into api_keys (id, name, principal, hash, scopes, user_id, per_s, in_flight,
                                created_s, expires_s)
          values (${id}, ${name}::text, ${principal}, ${hash}, ${scopes}, ${user_id}::text, ${per_s}::int8,
                  ${in_flight}::int8, extract(epoch from now())::int8,
                  extract(epoch from now())::int8 + ${ttl_s}::int8)
          on conflict (id) do nothing`,
      );
      // Not what the insert returns: if its answer is lost, it is tried again, and finds its row.
      const [made] = await shown(pool, (sql) => sql`k.id = ${id} and k.hash = ${hash}`, 1);
      if (!made) throw new Failure('already_exists', `there is a key ${id} already`);
      return made;
    },
    find: (id) => find(pool, id),
    list: (limit, after) => shown(pool, (sql) => sql`k.id > ${after}`, limit),
    async revoke(id) {
      await pool.read(
        (sql) => sql`
          update api_keys set revoked_s = extract(epoch from now())::int8
          where id = ${id} and revoked_s is null`,
      );
      return find(pool, id);
    },
    async live(deadline_at) {
      const rows = await pool.read(
        (sql) => sql`
          select id, principal, hash, scopes, user_id, per_s, in_flight,
                 expires_s * 1000 - (extract(epoch from now()) * 1000)::int8 as left_ms
          from ${liveKeys(sql)}`,
        { deadline_at },
      );
      return rows as unknown as LiveKey[];
    },
    async noteUses(ago_s, deadline_at) {
      // In one order everywhere: two processes that note the same keys do not wait in a circle.
      const ids = [...ago_s.keys()].sort();
      const ages = int8Array(ids.map((id) => Math.round(ago_s.get(id) ?? 0)));
      await pool.read(
        (sql) => sql`
          insert into api_key_uses (key_id, used_s)
          select id, extract(epoch from now())::int8 - ago_s
          from unnest(${textArray(ids)}::text[], ${ages}::int8[]) as u(id, ago_s)
          on conflict (key_id)
          do update set used_s = greatest(api_key_uses.used_s, excluded.used_s)`,
        { deadline_at },
      );
    },
  };
}

/**
 * A subquery that reads two ranges of the index `api_keys_live`. With one condition and `or`, some
 * samples of ANALYZE make PostgreSQL read all expired keys too.
 */
const liveKeys = (sql: Sql): Statement => sql`(
  select * from api_keys where revoked_s is null and expires_s is null
  union all
  select * from api_keys
  where revoked_s is null and expires_s > extract(epoch from now())::int8) as live`;

const find = async (pool: Pick<ReadPool, 'read'>, id: string): Promise<Key | undefined> =>
  (await shown(pool, (sql) => sql`k.id = ${id}`, 1))[0];

/** By id. @param which a condition of `k` */
async function shown(
  pool: Pick<ReadPool, 'read'>,
  which: (sql: Sql) => Statement,
  limit: number,
): Promise<Key[]> {
  const rows = await pool.read(
    (sql) => sql`
      select k.id, k.name, k.principal, k.scopes, k.user_id, k.per_s, k.in_flight, k.created_s, k.expires_s,
             k.revoked_s, u.used_s,
             case when k.revoked_s is not null then 'revoked'
                  when k.expires_s <= extract(epoch from now())::int8 then 'expired'
                  else 'live' end as state
      from api_keys k left join api_key_uses u on u.key_id = k.id
      where ${which(sql)} order by k.id limit ${limit}::int8`,
  );
  return rows as unknown as Key[];
}

/** Callers at the same moment may pass the limit by a few, which does no harm. */
async function assertRoom(pool: Pick<ReadPool, 'read'>): Promise<void> {
  const [row] = await pool.read(
    (sql) => sql`
      select count(*) as n from ${liveKeys(sql)}`,
  );
  if (Number(row?.n) < LIVE_MAX) return;
  throw new Failure('limit_exceeded', `${LIVE_MAX} keys are live: revoke one first`);
}
