/** Grants the services' roles exactly the privileges of roles.ts, after each migration. */
import { textArray } from '../connection/arrays.ts';
import type { Sql } from '../connection/connection.ts';
import { postgresqlVersion } from '../connection/dialect.ts';
import { codeOf, Failure, isServerError } from '../failure.ts';
import { type Grants, ROLES, withUpserts } from './roles.ts';

const NAMES = Object.keys(ROLES);
/** The privileges that are revoked where roles.ts does not list them; others are left alone. */
const MANAGED = ['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'ALL'];

/** The roles that do not exist on this server. */
export async function missingRoles(sql: Sql): Promise<string[]> {
  const rows = await sql`
    select rolname from pg_roles where rolname::text = any(${textArray(NAMES)}::text[])`;
  const there = rows.map((row) => row.rolname);
  return NAMES.filter((name) => !there.includes(name));
}

/**
 * Makes the missing roles. They may log in but have no password: set one for each
 * (`alter role kassa_order password '…'`), or issue a certificate in its name.
 * @throws Failure not_ready if the connected role may not make roles
 */
export async function makeRoles(sql: Sql, report: (line: string) => void): Promise<void> {
  const missing = await missingRoles(sql);
  for (const name of missing) {
    try {
      await sql.unsafe(`create role ${name} login`);
      report(`made the role ${name}, without a password`);
    } catch (cause) {
      if (codeOf(cause) === '42710') continue; // another runner has just made it
      if (codeOf(cause) !== '42501') throw cause;
      const detail = `this role may not make others: make ${missing.join(', ')} as an administrator`;
      throw new Failure('not_ready', detail, { cause });
    }
  }
}

/**
 * Grants missing privileges and revokes surplus ones, for the roles and tables that exist. Does
 * nothing where all privileges are right, or where none of the roles exists.
 */
export async function grantRoles(sql: Sql, report: (line: string) => void): Promise<void> {
  const missing = await missingRoles(sql);
  const names = NAMES.filter((name) => !missing.includes(name));
  if (names.length === 0) return;
  const is_postgresql = (await postgresqlVersion(sql)) !== undefined;
  const roles = names.map((name): [string, Grants] => {
    const grants = ROLES[name] ?? {};
    return [name, is_postgresql ? grants : withUpserts(grants)];
  });
  const tables = (
    await sql`
      select table_name from information_schema.tables
      where table_schema = current_schema() and table_type = 'BASE TABLE'`
  ).map((row) => String(row.table_name));
  for (const statement of await lacking(sql, roles, tables)) {
    report(statement);
    await sql.unsafe(statement);
  }
  // PostgreSQL only warns if the connected role may not grant a privilege.
  const [left] = await lacking(sql, roles, tables);
  if (left && is_postgresql) {
    const detail = `the store did not do it: ${left}; migrate as the role that owns the tables`;
    throw new Failure('not_ready', detail);
  }
  await closeSchema(sql, report);
}

/** The statements that are still needed. */
async function lacking(
  sql: Sql,
  roles: readonly [string, Grants][],
  tables: readonly string[],
): Promise<string[]> {
  const granted = await sql`
    select grantee, table_name, upper(privilege_type) as privilege
    from information_schema.table_privileges
    where table_schema = current_schema() and grantee = any(${textArray(NAMES)}::text[])`;
  const has = (role: string, table: string) =>
    granted
      .filter((row) => row.grantee === role && row.table_name === table)
      .map((row) => String(row.privilege));
  return roles.flatMap(([role, grants]) =>
    tables.flatMap((table) => changes(role, table, grants, has(role, table))),
  );
}

function changes(role: string, table: string, grants: Grants, has: readonly string[]): string[] {
  const wanted = (grants[table] ?? []).map((privilege) => privilege.toUpperCase());
  const surplus = has.filter((one) => MANAGED.includes(one) && !wanted.includes(one));
  const kept = surplus.includes('ALL') ? [] : has;
  const lacking = wanted.filter((one) => !kept.includes(one));
  const words = (list: string[]) => list.join(', ').toLowerCase();
  return [
    ...(surplus.length > 0 ? [`revoke ${words(surplus)} on ${table} from ${role}`] : []),
    ...(lacking.length > 0 ? [`grant ${words(lacking)} on ${table} to ${role}`] : []),
  ];
}

/**
 * Lets only the owner of the schema make tables there. That is the default from PostgreSQL 15 on;
 * before, and on CockroachDB, every role may. In another role's schema the migration only reports
 * it.
 */
async function closeSchema(sql: Sql, report: (line: string) => void): Promise<void> {
  const [row] = await sql`
    select n.nspname as name, has_schema_privilege('public', n.nspname, 'create') as open,
           r.rolname = current_user as ours
    from pg_namespace n left join pg_roles r on r.oid = n.nspowner
    where n.nspname = current_schema()`.catch((error) => {
    if (!isServerError(error)) throw error;
    report(`the store does not report which roles may make tables here (${codeOf(error)})`);
    return [];
  });
  if (!row?.open) return;
  const statement = `revoke create on schema ${row.name} from public`;
  report(
    row.ours
      ? statement
      : `every role may make tables here; the owner of the schema should run: ${statement}`,
  );
  if (row.ours) await sql.unsafe(statement);
}
