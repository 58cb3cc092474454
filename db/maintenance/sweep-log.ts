/** Deletes expired rows of the log in bounded steps, where the store does not or lags behind. */
import { int8Array } from '../connection/arrays.ts';
import { STORE_STREAM } from '../connection/dialect.ts';
import type { ReadPool } from '../connection/pool.ts';

/** In one statement, which must end long before a read times out. */
const ROWS_MAX = 1000;

/**
 * A stream keeps its last row: behind the gate the next position follows from it.
 * @param kept_h how long rows are kept
 * @returns a sweep of rows that expired at least this many seconds ago. It returns the age past
 *   expiry of the oldest row that it found
 */
export function logSweeper(pool: ReadPool, kept_h: number): (spared_s: number) => Promise<number> {
  /** Of each stream, the last position that was deleted: what is behind it need not be searched. */
  const swept = new Map<number, number>();
  return async (spared_s) => {
    let oldest_s = 0;
    const streams = await pool.read((sql) => sql`select id, opened_at from streams`);
    for (const { id, opened_at } of streams as unknown as { id: number; opened_at: number }[]) {
      oldest_s = Math.max(oldest_s, await sweepStream(id, spared_s));
      const ended = Date.now() - opened_at / 1000 > kept_h * 3_600_000;
      if (ended && id !== STORE_STREAM) await removeIfEmpty(id);
    }
    return oldest_s;
  };

  async function sweepStream(stream: number, spared_s: number): Promise<number> {
    let oldest_s = 0;
    for (;;) {
      const after = swept.get(stream) ?? 0;
      // Usually nothing is due, and the rows are large.
      const [first] = (await nextRows(stream, after, 2)).slice(0, -1);
      oldest_s = Math.max(oldest_s, first?.overdue_s ?? 0);
      if (!first || first.overdue_s <= spared_s) return oldest_s;
      const others = (await nextRows(stream, after, ROWS_MAX + 1)).slice(0, -1);
      // In the order of positions, so that no gap arises; the times of expiry may differ a little.
      const end = others.findIndex(({ overdue_s }) => overdue_s <= spared_s);
      const due = end === -1 ? others : others.slice(0, end);
      const positions = due.map(({ position }) => position);
      if (due.length === 0) return oldest_s;
      await pool.read(
        (sql) => sql`
          delete from batches
          where stream = ${stream}::int8 and position = any(${int8Array(positions)}::int8[])
            and expires_at < now()`,
      );
      swept.set(stream, Math.max(...positions));
      if (due.length < ROWS_MAX) return oldest_s;
    }
  }

  /** The last of them may be the last of the stream. */
  async function nextRows(stream: number, after: number, rows: number) {
    const found = await pool.read(
      (sql) => sql`
        select position, (extract(epoch from now()) - extract(epoch from expires_at))::int8 as overdue_s
        from batches where stream = ${stream}::int8 and position > ${after}::int8
        order by position limit ${rows}::int8`,
    );
    return found as unknown as { position: number; overdue_s: number }[];
  }

  /** A lane does not continue a stream that has been idle for so long: see stream.ts. */
  async function removeIfEmpty(stream: number): Promise<void> {
    await pool.read(
      (sql) => sql`
        delete from streams where id = ${stream}::int8
          and not exists (select 1 from batches where stream = ${stream}::int8)`,
    );
  }
}
