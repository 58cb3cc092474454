/** The making of roles and grants: what a migration and `--roles` do, and say. */
import { afterAll, expect, test } from 'bun:test';
import { grantRoles, makeRoles, missingRoles } from '../../db/maintenance/grant.ts';
import { migrate, readMigrations } from '../../db/maintenance/migrate.ts';
import { ROLES } from '../../db/maintenance/roles.ts';
import { openUntil } from '../support/open.ts';
import { freePort, openStage, sentenceOf } from '../support/process.ts';
import { openServer } from '../support/roles-server.ts';

const open = openUntil(afterAll);
const stage = open.closing(openStage());
const { database_url, owner, urlOf, letIn } = await openServer(open, stage);

const migrateAs = (url: string, ...flags: string[]) =>
  stage.run(['apps/cli/migrate.ts', ...flags], { DATABASE_URL: url });
/** Migrates as the owner. @returns what it reports */
async function migrated(): Promise<string[]> {
  const lines: string[] = [];
  await migrate(owner, await readMigrations(), (line) => lines.push(line));
  return lines;
}

test('a migration without roles grants nothing; --roles makes them; both report it', async () => {
  const without = await migrateAs(database_url);
  expect(without.out).toBe(
    `the schema is up to date\nthe roles ${Object.keys(ROLES).join(', ')} do not exist, so nothing was granted to them\n`,
  );
  const made = await migrateAs(database_url, '--roles');
  expect([made.code, made.err]).toEqual([0, '']);
  for (const role of Object.keys(ROLES)) expect(made.out).toContain(`made the role ${role}`);
  expect(made.out).toContain('grant select, insert, update on users to kassa_payment');
  expect(made.out).not.toContain('do not exist');
  await makeRoles(owner.sql, expect.unreachable);
  expect(await migrated()).toEqual([]); // the second run changes nothing
  await letIn(...Object.keys(ROLES));
});

test('a migration grants missing privileges, revokes surplus ones, and reports both', async () => {
  await owner.sql`revoke insert on users from kassa_payment`;
  await owner.sql`grant delete, truncate on users to kassa_stock`;
  await owner.sql`grant all on items to kassa_reader`;
  expect((await migrated()).sort()).toEqual([
    'grant insert on users to kassa_payment',
    'revoke delete, truncate on users from kassa_stock',
    'revoke insert, update, delete, truncate on items from kassa_reader',
  ]);
  expect(await migrated()).toEqual([]);
});

test('a migration fails if the connected role may not make a grant', async () => {
  await owner.sql`revoke update on items from kassa_payment`;
  const { sql } = await open.connection(urlOf('kassa_order'));
  const granted = grantRoles(sql, () => {});
  await expect(granted).rejects.toThrow('as the role that owns the tables');
  expect(await migrated()).toEqual(['grant update on items to kassa_payment']);
});

test('a migration by a role without the rights fails in one sentence, with the remedy', async () => {
  await owner.sql`delete from migrations`;
  const PORT = String(await freePort());
  const dev = await stage.run(['apps/cli/dev.ts'], { DATABASE_URL: urlOf('kassa_stock'), PORT });
  const denied = 'the store refuses the migration: permission denied for schema public';
  for (const child of [await migrateAs(urlOf('kassa_reader')), dev]) {
    expect([child.code, sentenceOf(child)]).toEqual([1, expect.stringContaining(denied)]);
  }
  await owner.sql`grant create on schema public to kassa_reader`;
  expect(sentenceOf(await migrateAs(urlOf('kassa_reader')))).toMatch(
    /permission denied for table \w+: the tables belong to another role: migrate as that role, or/,
  );
  await owner.sql`revoke create on schema public from kassa_reader`;
  await migrated();
});

test('a migration by the owner of an open schema closes it to other roles', async () => {
  const lines: string[] = [];
  await owner.sql`create schema open_to_all`;
  await owner.sql`grant create, usage on schema open_to_all to public`;
  await owner.sql`set search_path = open_to_all`;
  for (const _ of [1, 2]) await grantRoles(owner.sql, (line) => lines.push(line));
  await owner.sql`set search_path = public`;
  expect(lines).toEqual(['revoke create on schema open_to_all from public']);
});

test('--roles with a role that may not make others names an administrator as the remedy', async () => {
  await owner.sql`drop owned by kassa_stock, kassa_reader`;
  await owner.sql`drop role kassa_stock, kassa_reader`;
  expect(await missingRoles(owner.sql)).toEqual(['kassa_stock', 'kassa_reader']);
  const { sql } = await open.connection(urlOf('kassa_order'));
  const all = 'make kassa_stock, kassa_reader as an administrator';
  await expect(makeRoles(sql, expect.unreachable)).rejects.toThrow(all);
  expect(await migrated()).toEqual([]);
});
