/** Readiness: the store answers, is migrated, takes writes, and has granted the privileges. */
import { textArray } from '../connection/arrays.ts';
import type { ReadPool } from '../connection/pool.ts';
import { codeOf, Failure, isServerError, rootCodeOf, whyAway } from '../failure.ts';
import type { Log } from '../log.ts';
import { writeProbe } from '../operations-table.ts';
import type { Service } from '../service.ts';
import { assertMigrated } from './migrate.ts';
import type { Grants } from './roles.ts';

/** A probe comes every few seconds and must not wait as long as a call may. */
const CHECK_MS = 1000;
/** How often the check writes a row at most; sooner after a failure. */
const WRITE_EVERY_MS = 5000;
const WRITE_AGAIN_MS = 500;

/**
 * Checks with one statement each time and a write now and then, so readiness recovers by itself. A
 * new reason for a failure is logged, since the bodies of probes are rarely read.
 * @param needs what the services do with each table; the store may grant more
 * @param service one of them, in whose operations table the check writes; undefined if none has one
 * @returns a check that throws Failure not_ready or store_unavailable
 */
export function readiness(
  pool: ReadPool,
  needs: Grants,
  service: Service | undefined,
  log: Log,
): () => Promise<void> {
  const wanted = Object.entries(needs).flatMap(([relation, privileges]) =>
    privileges.map((privilege) => ({ relation, privilege })),
  );
  const queries = [
    grantsQuery(pool, wanted, BY_OID),
    grantsQuery(pool, wanted, BY_NAME),
    migrationsQuery(pool),
  ];
  const write = service ? occasionalWrite(pool, service) : () => undefined;
  let logged = '';
  return async () => {
    try {
      await inTime(check(), pool.trouble);
      logged = '';
    } catch (error) {
      if (error instanceof Failure && error.detail !== logged) {
        log('warn', 'store_not_ready', { error });
        logged = error.detail;
      }
      throw error;
    }
  };

  async function check(): Promise<void> {
    const seen = await look();
    if (seen) assertMigrated(seen.migrations);
    assertGranted(seen ? seen.lacking : [MIGRATIONS]);
    await write();
  }

  /** From the first query that the server does not understand on, the next one is used. */
  async function look(): Promise<Seen | undefined> {
    try {
      return await queries[0]?.();
    } catch (error) {
      if (codeOf(error) === 'not_ready') await assertDatabase(pool);
      if (!isServerError(error) || queries.length === 1) throw error;
      queries.shift();
      if (queries.length === 1) log('warn', 'privileges_not_checked', { error });
      return look();
    }
  }
}

/**
 * Writes a row into no hot table, without the gate; it expires.
 * Only a write shows that the disk has room and that the server takes writes. Probes in between
 * share the last result.
 */
function occasionalWrite(pool: ReadPool, service: Service): () => Promise<unknown> {
  let again_at = Number.NEGATIVE_INFINITY;
  let last: Promise<unknown> = Promise.resolve();
  return () => {
    if (performance.now() < again_at) return last;
    again_at = performance.now() + WRITE_EVERY_MS;
    last = pool
      .read((sql) => writeProbe(sql, service, crypto.randomUUID()))
      .catch((error) => {
        again_at = performance.now() + WRITE_AGAIN_MS;
        throw error;
      });
    return last;
  };
}

/**
 * On CockroachDB a session may be in a database that does not exist, where no table exists either.
 * @throws Failure not_ready
 */
async function assertDatabase(pool: ReadPool): Promise<void> {
  const found = await pool
    .read((sql) => sql`select 1 from pg_catalog.pg_database where datname = current_database()`)
    .catch((error) => {
      if (codeOf(error) === '3D000' || codeOf(error) === 'not_ready') return [];
      throw error;
    });
  if (found.length > 0) return;
  throw new Failure('not_ready', 'the store has no database of this name: create it, and migrate');
}

interface Seen {
  migrations: ReadonlySet<string>;
  lacking: readonly Wanted[];
}
interface Wanted {
  relation: string;
  privilege: string;
}
/** The one table that the query itself reads. */
const MIGRATIONS: Wanted = { relation: 'migrations', privilege: 'select' };

/** Null, so neither true nor false, for a table that does not exist. */
const BY_OID = 'to_regclass(n.relation)::oid';
/**
 * For CockroachDB before 22.2, which has no to_regclass; it fails for a table that does not exist.
 * https://github.com/cockroachdb/cockroach/pull/78652
 */
const BY_NAME = 'n.relation';

/**
 * The migrations that are complete, and the privileges that the connected role lacks; owners and
 * superusers lack none. A table that does not exist lacks its migration, not a privilege.
 * @returns undefined if the role may not even read the migrations
 */
const grantsQuery = (pool: ReadPool, wanted: readonly Wanted[], relation: string) => async () => {
  const relations = textArray(wanted.map(({ relation }) => relation));
  const privileges = textArray(wanted.map(({ privilege }) => privilege));
  const rows = await pool
    .read(
      (sql) => sql`
        select name as migration, null as relation, null as privilege
        from migrations where step = 0
        union all
        select null, n.relation, n.privilege
        from unnest(${relations}::text[], ${privileges}::text[]) as n(relation, privilege)
        where not has_table_privilege(${sql.unsafe(relation)}, n.privilege)`,
    )
    .catch((error) => {
      if (error instanceof Failure && codeOf(error.cause) === '42501') return undefined;
      throw error;
    });
  if (!rows) return undefined;
  const found = rows as unknown as (Wanted & { migration: string | null })[];
  return {
    migrations: new Set(found.flatMap(({ migration }) => migration ?? [])),
    lacking: found.filter(({ migration }) => migration === null),
  };
};

/** For a server that cannot answer the query for privileges: calls will show what is missing. */
const migrationsQuery = (pool: ReadPool) => async (): Promise<Seen> => {
  const rows = await pool.read((sql) => sql`select name from migrations where step = 0`);
  return { migrations: new Set(rows.map(({ name }) => String(name))), lacking: [] };
};

/** @throws Failure not_ready that names each table with the privileges that are missing on it */
function assertGranted(lacking: readonly Wanted[]): void {
  if (lacking.length === 0) return;
  const tables = [...new Set(lacking.map(({ relation }) => relation))].sort();
  const list = tables.map((table) => {
    const privileges = lacking.filter(({ relation }) => relation === table);
    return `${privileges.map(({ privilege }) => privilege).join(', ')} on ${table}`;
  });
  const advice = 'check the user of DATABASE_URL, run `bun run migrate`';
  throw new Failure('not_ready', `the role of this service lacks ${list.join('; ')}: ${advice}`);
}

/** @param trouble why the tries so far have failed */
function inTime<T>(work: Promise<T>, trouble: () => unknown): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const late = () => reject(unavailable('the store does not answer in time', trouble()));
  const timer = setTimeout(late, CHECK_MS);
  work.then(resolve, (error) => {
    const away = error instanceof Failure && error.code === 'store_unavailable';
    reject(away ? unavailable('the store cannot be reached', error) : error);
  });
  return promise.finally(() => clearTimeout(timer));
}

/** With the store's own reason where it may be public, else with its code. */
function unavailable(what: string, cause: unknown): Failure {
  const code = rootCodeOf(cause);
  const why = whyAway(cause);
  const known = code !== '' && why.includes(code);
  const bare = code === '' || code === 'store_unavailable';
  const detail = known ? why : `${what}${bare ? '' : ` (${code})`}`;
  return new Failure('store_unavailable', detail, { cause });
}
