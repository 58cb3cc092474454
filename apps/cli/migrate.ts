/** `bun run migrate`: brings the schema of DATABASE_URL, or of the running dev store, up to date. */
import type { Connection } from '../../db/connection/connection.ts';
import { makeRoles, missingRoles } from '../../db/maintenance/grant.ts';
import { migrate, readMigrations } from '../../db/maintenance/migrate.ts';
import { readArguments } from '../runtime/arguments.ts';
import { exitWith } from '../runtime/exit.ts';
import { openTool, refusedMigration } from './connect.ts';

const HELP = `Applies the migrations that the store lacks. Safe to run twice and by two at once.
At its end the services' SQL roles, where they exist, are given exactly what each needs.

  bun run migrate [--roles] [--data DIR]

  --roles       make the SQL roles of the services that are missing, without passwords
  --data DIR    the running dev store to migrate, if DATABASE_URL is not set (.data)
  --help        this text`;

try {
  const { data, roles } = readArguments(HELP, {
    data: { type: 'string', default: '.data' },
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
  if (missing.length > 0) say(`no roles ${missing.join(', ')} here: nothing granted to them`);
}
