/** Makes keys for proofs and benchmarks that run services of their own with AUTH=on. */
import { newKeyText } from '../../apps/auth/key-text.ts';
import { wantedOf } from '../../apps/auth/wanted.ts';

import { keys } from '../../db/keys/keys.ts';
import { connectStore } from './own-database.ts';

/** A key for everything, as `bun run keys create --scopes admin` makes it. @returns its text */
export async function makeKey(database_url: string, id: string): Promise<string> {
  const { text, hash } = newKeyText();
  const { sql, whileAlive, close } = await connectStore(database_url);
  const read: Parameters<typeof keys>[0]['read'] = async (of) => whileAlive(of(sql));
  await keys({ read })
    .create(wantedOf({ id, scopes: ['admin'] }), hash)
    .finally(close);
  return text;
}
