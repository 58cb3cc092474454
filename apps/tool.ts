/** How the command-line tools reach the store: DATABASE_URL, or the dev store that runs now. */
import { type Connection, openConnection } from '../db/connect.ts';
import { codeOf, Failure } from '../db/failure.ts';
import { readOwner } from '../db/owner.ts';
import { describeStore, environment, readConfig, storeOptions } from './config.ts';

/** @throws Failure with one sentence if there is no store or it doesn't answer */
export async function openTool(data: string, name: string): Promise<Connection> {
  const config = readConfig(environment());
  const database_url = config.DATABASE_URL ?? (await readOwner(data))?.database_url;
  if (!database_url) {
    const detail = `no store: set DATABASE_URL, or start \`bun run dev\` (nothing runs on ${data})`;
    throw new Failure('store_unavailable', detail);
  }
  return connectOrSay(storeOptions(config, database_url, name));
}

/** Opens a connection, or says in one sentence which store does not answer, and why. */
export function connectOrSay(address: Parameters<typeof openConnection>[0]): Promise<Connection> {
  return openConnection(address, 'tools').catch((cause) => {
    const store = describeStore(address.database_url);
    const code = codeOf(cause.cause);
    const said: Record<string, string> = {
      '3D000': 'has no such database',
      '28P01': 'refuses this password',
      '28000': 'refuses this user',
    };
    const detail = `the store at ${store} ${said[code] ?? `does not answer (${code || cause.detail})`}`;
    throw new Failure('store_unavailable', detail, { cause });
  });
}
