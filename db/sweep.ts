/** Removes operations that have expired, a few at a time, so that the table stays small. */
import type { Log } from './failure.ts';
import type { ReadPool } from './reads.ts';

const EVERY_MS = 60_000;
const ROWS_MAX = 10_000;

/** Starts sweeping, at a random moment of each minute. Returns how to stop it. */
export function startSweeping(pool: ReadPool, log: Log): () => void {
  let timer = setTimeout(sweep, EVERY_MS * Math.random());
  let stopped = false;
  return () => {
    stopped = true;
    clearTimeout(timer);
  };

  async function sweep() {
    await sweepExpired(pool).catch((error) => log('warn', 'sweep_failed', { error }));
    if (!stopped) timer = setTimeout(sweep, EVERY_MS * (0.5 + Math.random()));
  }
}

export async function sweepExpired(pool: ReadPool): Promise<void> {
  await pool.read(
    (sql) => sql`
      delete from operations where key in
        (select key from operations where expires_at < now() order by expires_at limit ${ROWS_MAX})`,
  );
}
