/**
 * Applies migrations/*.sql: each statement alone (CockroachDB commits DDL by itself), written so
 * that it may run twice, recorded with its hash, under a lease so that two runners take turns.
 */
import { createHash, randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import journal from '../../migrations/meta/_journal.json' with { type: 'json' };
import type { Connection, Sql, Statement } from '../connection/connection.ts';
import { tuneTables } from '../connection/dialect.ts';
import { codeOf, Failure, isConflict } from '../failure.ts';
import { grantRoles } from './grant.ts';

export interface Migration {
  name: string;
  statements: string[];
}

/** How a statement begins that is repeated until it changes no row: a copy in bounded steps. */
const AGAIN = '-- again until no row changes';

/** Of statements that two runners may start at once, before either has the lease. */
const ALREADY_THERE = ['42P07', '42710', '42701', '23505'];

/**
 * Brings the store's schema up to date, and what the services' roles may do with it. Safe to run
 * twice and by two runners at once.
 * @returns how many statements were applied
 * @throws Failure if a step that was applied has changed since or the connection is lost on the
 *   way (run it again), or an error of the store
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
          changed = (await sql.unsafe(statement)).count;
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

/** The migrations of this version, in order, cut at drizzle-kit's breakpoints. */
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
  const missing = journal.entries.map((entry) => entry.tag).filter((tag) => !complete.has(tag));
  if (missing.length > 0) {
    throw new Failure('not_ready', `the store lacks migration ${missing.join(', ')}`);
  }
}

/** The step that stands for a whole migration; it is recorded last. */
const WHOLE = 0;

/** Steps that are recorded already. @throws Failure if one of them reads differently now */
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
    await new Promise((resolve) => setTimeout(resolve, 100 + Math.random() * 100));
  }
}

/**
 * Before each statement. One that lasts longer than the lease may be begun by another runner too:
 * it is written so that it may run twice, and this runner then ends here.
 * @throws Failure if the lease went to another runner meanwhile
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
