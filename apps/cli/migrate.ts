/**
 * `bun run migrate`: brings the schema of DATABASE_URL, or of the running dev store, up to date.
 */
import type { Connection } from '../../db/connection/connection.ts';
import { makeRoles, missingRoles } from '../../db/maintenance/grant.ts';
import { migrate, readMigrations } from '../../db/maintenance/migrate.ts';
import { readArguments } from '../runtime/arguments.ts';
import { exitWith } from '../runtime/exit.ts';
import { openTool, refusedMigration } from './connect.ts';

const HELP = `Applies the migrations that the store lacks. It is safe to run twice, also concurrently.
At its end it grants the SQL roles of the services, where they exist, exactly what each needs.

  bun run migrate [--roles] [--data DIR]

  --roles       create the missing SQL roles of the services, without passwords
  --data DIR    the running dev store to migrate, if DATABASE_URL is not set (.data)
  --help        this text

Exit code 0: the schema is up to date; 1: the store refuses the migration; 2: it could not be run.`;

try {
  const { data, roles } = readArguments(HELP, {
    data: { type: 'string' },
    roles: { type: 'boolean', default: false },
  });
  const connection = await openTool(data, 'migrate');
  await connection.whileAlive(bringUp(connection, roles));
  await connection.close();
} catch (error) {
  exitWith(refusedMigration(error));
}

async function bringUp(connection: Connection, roles: boolean): Promise<void> {
  const say = (line: string) => console.log(line);
  if (roles) await makeRoles(connection.sql, say);
  const applied = await migrate(connection, await readMigrations(), say);
  say(applied === 0 ? 'the schema is up to date' : `${applied} statements applied`);
  const missing = await missingRoles(connection.sql);
  if (missing.length === 0) return;
  say(`the roles ${missing.join(', ')} do not exist, so nothing was granted to them`);
}
