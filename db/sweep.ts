/** Removes operations that have expired, a few at a time, where the store does not. */
import { expires, operationsOptions } from './dialect.ts';
import { isServerError, type Log } from './failure.ts';
import type { ReadPool } from './read-pool.ts';

const EVERY_MS = 60_000;
/** Of one statement: it must be done long before a read is given up. */
const ROWS_MAX = 1000;

/**
 * Starts sweeping, at a random moment of each minute, until the store is seen to do it by itself.
 * Returns how to stop it.
 */
export function startSweeping(pool: ReadPool, log: Log): () => void {
  let timer = setTimeout(sweep, EVERY_MS * Math.random());
  let stopped = false;
  return () => {
    stopped = true;
    clearTimeout(timer);
  };

  async function sweep() {
    try {
      if (!(await sweepExpired(pool))) return;
    } catch (error) {
      log('warn', 'sweep_failed', { error });
    }
    if (!stopped) timer = setTimeout(sweep, EVERY_MS * (0.5 + Math.random()));
  }
}

/** A server that does not know the question does not expire rows either. */
function isNotSaid(error: unknown): false {
  if (isServerError(error)) return false;
  throw error;
}

/** @returns false if there is no need, since the store removes what has expired */
export async function sweepExpired(pool: ReadPool): Promise<boolean> {
  if (await pool.read(operationsOptions).then(expires, isNotSaid)) return false;
  for (let removed = ROWS_MAX; removed === ROWS_MAX; ) {
    const keys = await pool.read(
      (sql) => sql`
        delete from operations where key in
          (select key from operations where expires_at < now() order by expires_at limit ${ROWS_MAX})
        returning key`,
    );
    removed = keys.length;
  }
  return true;
}
