/** Whether a service could do its work now: the store answers, is migrated, and lets it. */
import { textArray } from '../connection/arrays.ts';
import type { ReadPool } from '../connection/pool.ts';
import { writeMarker } from '../engine/operations.ts';
import { codeOf, Failure, isServerError, type Log, rootCodeOf, whyAway } from '../failure.ts';
import { assertMigrated } from './migrate.ts';
import type { Grants, Service } from './roles.ts';

/** A probe asks every few seconds and must not wait as long as a call may. */
const CHECK_MS = 1000;
/** Whether writes succeed is tried at most so often, and sooner after it has failed. */
const WRITE_EVERY_MS = 5000;
const WRITE_AGAIN_MS = 500;

/**
 * The check, one statement each time and now and then a write, so that it turns true by itself. Why
 * it does not is logged when that changes: probes show a status, and nobody reads their answers.
 * @param needs what the services do with each table; the store may well grant more
 * @param service one of them, among whose operations a row is written
 * @returns resolves if all is well. @throws Failure not_ready, store_unavailable
 */
export function readiness(
  pool: ReadPool,
  needs: Grants,
  service: Service,
  log: Log,
): () => Promise<void> {
  const wanted = Object.entries(needs).flatMap(([relation, privileges]) =>
    privileges.map((privilege) => ({ relation, privilege })),
  );
  const ways = [look(pool, wanted, BY_OID), look(pool, wanted, BY_NAME), lookForMigrations(pool)];
  const write = writing(pool, service);
  let said = '';
  return async () => {
    try {
      await inTime(check(), pool.trouble);
      said = '';
    } catch (error) {
      if (error instanceof Failure && error.detail !== said) {
        log('warn', 'store_not_ready', { error });
        said = error.detail;
      }
      throw error;
    }
  };

  async function check(): Promise<void> {
    const seen = await looking();
    if (seen) assertMigrated(seen.migrations);
    assertGranted(seen ? seen.lacking : [MIGRATIONS]);
    await write();
  }

  /** A server that does not know how it is asked is asked in another way from then on. */
  async function looking(): Promise<Seen | undefined> {
    try {
      return await ways[0]?.();
    } catch (error) {
      if (codeOf(error) === 'not_ready') await assertDatabase(pool);
      if (!isServerError(error) || ways.length === 1) throw error;
      ways.shift();
      if (ways.length === 1) log('warn', 'privileges_not_checked', { error });
      return looking();
    }
  }
}

/**
 * Writes a row as each transaction does, of no hot table and behind no gate; it expires. Only that
 * shows that the disk has room and that the server takes writes. Probes in between share an answer.
 */
function writing(pool: ReadPool, service: Service): () => Promise<unknown> {
  let again_at = Number.NEGATIVE_INFINITY;
  let last: Promise<unknown> = Promise.resolve();
  return () => {
    if (performance.now() < again_at) return last;
    again_at = performance.now() + WRITE_EVERY_MS;
    last = pool
      .read((sql) => writeMarker(sql, { service, id: crypto.randomUUID() }, 'undone'))
      .catch((error) => {
        again_at = performance.now() + WRITE_AGAIN_MS;
        throw error;
      });
    return last;
  };
}

/**
 * On CockroachDB a session may be in a database that is not there: then no table is either.
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
/** The one table that the statement reads. */
const MIGRATIONS: Wanted = { relation: 'migrations', privilege: 'select' };

/** Null, so neither true nor false, for a table that is not there. */
const BY_OID = 'to_regclass(n.relation)::oid';
/**
 * For CockroachDB before 22.2, which has no to_regclass; fails for a table that is not there.
 * https://github.com/cockroachdb/cockroach/pull/78652
 */
const BY_NAME = 'n.relation';

/**
 * The migrations that the store has seen to the end, and what the connected role may not do: owners
 * and superusers may do all. A table that is not there lacks its migration, and no privilege.
 * @returns undefined if the role may not even read the migrations
 */
const look = (pool: ReadPool, wanted: readonly Wanted[], relation: string) => async () => {
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

/** For a server that cannot answer the question about privileges: its calls will tell. */
const lookForMigrations = (pool: ReadPool) => async (): Promise<Seen> => {
  const rows = await pool.read((sql) => sql`select name from migrations where step = 0`);
  return { migrations: new Set(rows.map(({ name }) => String(name))), lacking: [] };
};

/** @throws Failure not_ready that names each table with what is lacking on it */
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

/** @param trouble why the tries of the meantime have failed */
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

/** With the store's own reason where that may be told, else with its code. */
function unavailable(what: string, cause: unknown): Failure {
  const code = rootCodeOf(cause);
  const why = whyAway(cause);
  const known = code !== '' && why.includes(code);
  const bare = code === '' || code === 'store_unavailable';
  const detail = known ? why : `${what}${bare ? '' : ` (${code})`}`;
  return new Failure('store_unavailable', detail, { cause });
}
