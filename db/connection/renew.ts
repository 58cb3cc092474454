/** A connection that has served its time gives way to a new one. */

import type { Log } from '../failure.ts';
import type { Connection } from './connection.ts';

/** Opens a connection in place of a stale one, which goes on if there is none to be had. */
export async function renew(
  old: Connection,
  open: () => Promise<Connection>,
  log: Log,
): Promise<Connection> {
  try {
    const fresh = await open();
    void old.close();
    return fresh;
  } catch (error) {
    log('warn', 'connection_not_renewed', { error });
    old.keep();
    return old;
  }
}
