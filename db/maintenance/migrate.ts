/**
 * Applies migrations/*.sql: each statement alone, since CockroachDB commits DDL by itself. A
 * statement may run twice and is recorded with its hash. A lease makes two runners take turns.
 */
import { createHash, randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import journal from '../../migrations/meta/_journal.json' with { type: 'json' };
import type { Connection, Sql, Statement } from '../connection/connection.ts';
import { codeOf, Failure, isConflict } from '../failure.ts';
import { grantRoles } from './grant.ts';
import { tuneTables } from './tune-tables.ts';

export interface Migration {
  name: string;
  statements: string[];
}

/** First line of a statement that is repeated until it changes no row: a copy in bounded steps. */
const AGAIN = '-- again until no row changes';

/** Errors of statements that two runners start at once, before either has the lease. */
const ALREADY_THERE = ['42P07', '42710', '42701', '23505'];

/**
 * Brings the schema and the grants of the services' roles up to date. Safe to run twice, and by two
 * runners at once.
 * @returns how many statements were applied
 * @throws Failure if an applied step has changed since, or if the connection is lost meanwhile
 *   (then run it again); or an error of the store
 */
export function migrate(
  connection: Connection,
  migrations: readonly Migration[],
  report: (line: string) => void = () => {},
): Promise<number> {
  return connection.whileAlive(underLease(connection, migrations, randomUUID(), report));
}

async function underLease(
  connection: Connection,
  migrations: readonly Migration[],
  holder: string,
  report: (line: string) => void,
): Promise<number> {
  const { sql } = connection;
  await prepare(connection);
  await takeLease(connection, holder, report);
  try {
    let applied = 0;
    for (const migration of migrations) {
      const { name, statements } = migration;
      const seen = await appliedSteps(sql, migration);
      for (const [i, statement] of statements.entries()) {
        const step = i + 1;
        if (seen.has(step)) continue;
        report(`${name} ${step}/${statements.length}`);
        let changed: number;
        do {
          await renew(connection, holder);
          changed = await apply(sql, statement);
        } while (statement.startsWith(AGAIN) && changed > 0);
        await record(sql, name, step, statement);
        applied++;
      }
      if (!seen.has(WHOLE)) await record(sql, name, WHOLE, statements.join('\n'));
    }
    await tuneTables(sql);
    await grantRoles(sql, report);
    return applied;
  } finally {
    if (connection.alive) {
      await sql`update migration_lease set expires_at = now() where holder = ${holder}`;
    }
  }
}

/** @returns the number of changed rows */
async function apply(sql: Sql, statement: string): Promise<number> {
  try {
    return (await sql.unsafe(statement)).count;
  } catch (error) {
    // PostgreSQL has no IF NOT EXISTS for constraints.
    if (statement.includes(' ADD CONSTRAINT ') && codeOf(error) === '42710') return 0;
    throw error;
  }
}

/**
 * Whether a migration removes something that the version before needs, or closes the store to it.
 * Contractions run after the rollout, when asked for: `bun run migrate --contract`.
 */
export const isContraction = (name: string): boolean => /^\d+_contract_/.test(name);

/**
 * The migrations of this version; contractions only if they are asked for, or on a new store, which
 * no service of an earlier version uses.
 */
export async function dueMigrations(
  connection: Connection,
  contract: boolean,
): Promise<Migration[]> {
  const whole = contract || (await isNew(connection));
  return (await readMigrations()).filter(({ name }) => whole || !isContraction(name));
}

async function isNew({ sql }: Connection): Promise<boolean> {
  try {
    return (await sql`select 1 from migrations limit 1`).length === 0;
  } catch (error) {
    if (codeOf(error) === '42P01') return true;
    throw error;
  }
}

/** Whether every contraction of this version has run. */
export async function isContracted({ sql }: Connection): Promise<boolean> {
  const rows = await sql`select name from migrations where step = 0`;
  const complete = new Set(rows.map(({ name }) => String(name)));
  return journal.entries.every(({ tag }) => !isContraction(tag) || complete.has(tag));
}

/** The migrations of this version, in order, split at drizzle-kit's breakpoints. */
export async function readMigrations(): Promise<Migration[]> {
  return Promise.all(
    journal.entries.map(async ({ tag }) => {
      const url = new URL(`../../migrations/${tag}.sql`, import.meta.url);
      const text = await readFile(url, 'utf8');
      const statements = text.split('--> statement-breakpoint').map((part) => part.trim());
      return { name: tag, statements: statements.filter((statement) => statement !== '') };
    }),
  );
}

/** @throws Failure not_ready if the store lacks a migration of this version */
export function assertMigrated(complete: ReadonlySet<string>): void {
  const needed = journal.entries.map(({ tag }) => tag).filter((tag) => !isContraction(tag));
  const missing = needed.filter((tag) => !complete.has(tag));
  if (missing.length > 0) {
    throw new Failure('not_ready', `the store lacks migration ${missing.join(', ')}`);
  }
}

/** The step that marks a migration as complete; it is recorded last. */
const WHOLE = 0;

/** The recorded steps. @throws Failure if the text of one has changed since */
async function appliedSteps(sql: Sql, { name, statements }: Migration): Promise<Set<number>> {
  const rows = await sql`select step, hash from migrations where name = ${name}`;
  for (const { step, hash } of rows) {
    const text = step === WHOLE ? statements.join('\n') : statements[step - 1];
    if (text !== undefined && hash === hashOf(text)) continue;
    const what = `migration ${name} was applied and has changed since`;
    throw new Failure('internal', `${what} (statement ${step}): write a new migration instead`);
  }
  return new Set(rows.map((row) => Number(row.step)));
}

const record = (sql: Sql, name: string, step: number, text: string) =>
  sql`insert into migrations (name, step, hash) values (${name}, ${step}, ${hashOf(text)})`;

async function prepare({ sql }: Connection): Promise<void> {
  await once(
    () => sql`
    create table if not exists migrations (
      name text not null, step int8 not null, hash text not null,
      applied_at timestamptz not null default now(),
      constraint migrations_pkey primary key (name, step))`,
  );
  await once(
    () => sql`
    create table if not exists migration_lease (
      id int8 not null, holder text not null, expires_at timestamptz not null,
      constraint migration_lease_pkey primary key (id))`,
  );
  await once(() => sql`insert into migration_lease (id, holder, expires_at) values (1, '', now())`);
}

async function once(statement: () => Statement): Promise<void> {
  for (let tries = 0; ; tries++) {
    try {
      await statement();
      return;
    } catch (error) {
      if (ALREADY_THERE.includes(codeOf(error))) return;
      if (!isConflict(error) || tries === 20) throw error;
    }
  }
}

async function takeLease(
  connection: Connection,
  holder: string,
  report: (line: string) => void,
): Promise<void> {
  for (let tries = 0; ; tries++) {
    const taken = await connection.sql`
      update migration_lease set holder = ${holder},
        expires_at = now() + interval '30 seconds'
      where id = 1 and expires_at <= now() returning id`.catch(conflictAsNone);
    if (taken.length > 0) return;
    if (tries % 50 === 1) report('another runner is migrating; waiting for it');
    await sleep(100 + Math.random() * 100);
  }
}

/**
 * Renews the lease before each statement. If a statement outlasts the lease, another runner may
 * start it too, which is safe, and this runner stops here.
 * @throws Failure if another runner holds the lease
 */
async function renew({ sql }: Connection, holder: string): Promise<void> {
  const kept = await sql`
    update migration_lease set expires_at = now() + interval '30 seconds'
    where id = 1 and holder = ${holder} returning id`;
  if (kept.length === 0) {
    const detail = 'the migration lease was lost to another runner: run the migration again';
    throw new Failure('contention', detail);
  }
}

const conflictAsNone = (error: unknown): [] => {
  if (isConflict(error)) return [];
  throw error;
};

const hashOf = (text: string): string => createHash('sha256').update(text).digest('hex');
