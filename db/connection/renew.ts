/** Replaces a connection that is past its lifetime. */
import type { Log } from '../log.ts';
import type { Connection } from './connection.ts';

/** @returns the replacement, or the old connection if none could be opened */
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
