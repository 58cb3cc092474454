/** `bun run migrate`: brings the schema of DATABASE_URL, or of the running dev store, up to date. */
import { migrate, readMigrations } from '../db/migrate.ts';
import { readArguments } from './arguments.ts';
import { exitWith } from './service.ts';
import { openTool } from './tool.ts';

const HELP = `Applies the migrations that the store lacks. Safe to run twice and by two at once.

  bun run migrate [--data DIR]

  --data DIR    the running dev store to migrate, if DATABASE_URL is not set (.data)
  --help        this text`;

try {
  const { data } = readArguments(HELP, { data: { type: 'string', default: '.data' } });
  const connection = await openTool(data, 'migrate');
  const applied = await migrate(connection, await readMigrations(), (line) => console.log(line));
  console.log(applied === 0 ? 'the schema is up to date' : `${applied} statements applied`);
  await connection.close();
} catch (error) {
  exitWith(error);
}
