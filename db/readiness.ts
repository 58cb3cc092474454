/** Whether a service could do its work now: the store answers, is migrated, and lets it. */
import { textArray } from './arrays.ts';
import { codeOf, Failure, isServerError, type Log, rootCodeOf } from './failure.ts';
import { assertMigrated } from './migrate.ts';
import type { ReadPool } from './read-pool.ts';
import type { Grants } from './roles.ts';

/** A probe asks every few seconds and must not wait as long as a call may. */
const CHECK_MS = 1000;

/**
 * The check, one statement each time, so that it turns true by itself. Why it does not is logged
 * when that changes: probes show a status, and nobody reads their answers.
 * @param needs what the service does with each table; the store may well grant more
 * @returns resolves if all is well. @throws Failure not_ready, store_unavailable
 */
export function readiness(pool: ReadPool, needs: Grants, log: Log): () => Promise<void> {
  const wanted = Object.entries(needs).flatMap(([relation, privileges]) =>
    privileges.map((privilege) => ({ relation, privilege })),
  );
  let said = '';
  let answers = true;
  return async () => {
    try {
      const looking = answers ? look(pool, wanted).catch(unanswered) : lookForMigrations(pool);
      const seen = await inTime(looking, pool.trouble);
      if (seen) assertMigrated(seen.migrations);
      assertGranted(seen ? seen.lacking : [MIGRATIONS]);
      said = '';
    } catch (error) {
      if (error instanceof Failure && error.detail !== said) {
        log('warn', 'store_not_ready', { error });
        said = error.detail;
      }
      throw error;
    }
  };

  function unanswered(error: unknown): Promise<Seen> {
    if (!isServerError(error)) throw error;
    answers = false;
    log('warn', 'privileges_not_checked', { error });
    return lookForMigrations(pool);
  }
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

/**
 * The migrations that the store has seen to the end, and what the connected role may not do: owners
 * and superusers may do all. A table that is not there lacks its migration, and no privilege.
 * @returns undefined if the role may not even read the migrations
 */
async function look(pool: ReadPool, wanted: readonly Wanted[]): Promise<Seen | undefined> {
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
        where not has_table_privilege(to_regclass(n.relation)::oid, n.privilege)`,
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
}

/** For a server that cannot answer the question about privileges: its calls will tell. */
async function lookForMigrations(pool: ReadPool): Promise<Seen> {
  const rows = await pool.read((sql) => sql`select name from migrations where step = 0`);
  return { migrations: new Set(rows.map(({ name }) => String(name))), lacking: [] };
}

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
  const unanswered = () => {
    const cause = trouble();
    const code = rootCodeOf(cause);
    const detail = `the store does not answer in time${code && ` (${code})`}`;
    return new Failure('store_unavailable', detail, { cause });
  };
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const timer = setTimeout(() => reject(unanswered()), CHECK_MS);
  work.then(resolve, (error) => {
    const away = error instanceof Failure && error.code === 'store_unavailable';
    reject(away ? unanswered() : error);
  });
  return promise.finally(() => clearTimeout(timer));
}
