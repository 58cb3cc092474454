/**
 * `bun run migrate`: brings the schema of DATABASE_URL, or of the running dev store, up to date.
 */
import type { Connection } from '../../db/connection/connection.ts';
import { makeRoles, missingRoles } from '../../db/maintenance/grant.ts';
import { dueMigrations, isContracted, migrate } from '../../db/maintenance/migrate.ts';
import { readArguments } from '../runtime/arguments.ts';
import { exitWith } from '../runtime/exit.ts';
import { openTool, refusedMigration } from './connect.ts';

const HELP = `Applies the migrations that the store lacks. It is safe to run twice, also concurrently.
At its end it grants the SQL roles of the services, where they exist, exactly what each needs.

  bun run migrate [--contract] [--roles] [--data DIR]

  --contract    also run contractions: from then on services of earlier versions cannot write, so
                run it once none is left; on a new store contractions always run
  --roles       create the missing SQL roles of the services, without passwords
  --data DIR    the running dev store to migrate, if DATABASE_URL is not set (.data)
  --help        this text

Exit code 0: the schema is up to date; 1: the store refuses the migration; 2: it could not be run.`;

try {
  const { contract, data, roles } = readArguments(HELP, {
    contract: { type: 'boolean', default: false },
    data: { type: 'string' },
    roles: { type: 'boolean', default: false },
  });
  const connection = await openTool(data, 'migrate');
  await connection.whileAlive(bringUp(connection, contract, roles));
  await connection.close();
} catch (error) {
  exitWith(refusedMigration(error));
}

async function bringUp(connection: Connection, contract: boolean, roles: boolean): Promise<void> {
  const say = (line: string) => console.log(line);
  if (roles) await makeRoles(connection.sql, say);
  const applied = await migrate(connection, await dueMigrations(connection, contract), say);
  say(applied === 0 ? 'the schema is up to date' : `${applied} statements applied`);
  if (!(await isContracted(connection))) {
    say('once no service of an earlier version is left, run: bun run migrate --contract');
  }
  const missing = await missingRoles(connection.sql);
  if (missing.length === 0) return;
  say(`the roles ${missing.join(', ')} do not exist, so nothing was granted to them`);
}
