/** Detects a pooler that shares sessions between transactions, and refuses it. */
import { systemClock } from '../clock.ts';
import type { Sql } from './connection.ts';
import type { Client } from './driver.ts';
import { pooled } from './session.ts';

/**
 * A server announces its process id in the handshake; a pooler announces another one. Only then
 * this opens a second connection and checks whether its transaction runs in our session, or our
 * session has moved in the meantime. PgBouncer lends the session that was freed last; other poolers
 * rotate. The work of others may hide the sharing, so each new connection checks.
 * @throws Failure store_unavailable
 */
export async function assertOwnSession(
  sql: Sql,
  mine: Session,
  openSecond: (lost: (why: Error) => void) => Client,
  timeout_ms: number,
): Promise<void> {
  if (mine.announced === undefined || mine.announced === mine.pid) return;
  const { promise: gone, reject } = Promise.withResolvers<never>();
  gone.catch(() => {});
  const second = openSecond(reject);
  const { promise: late, resolve: giveUp } = Promise.withResolvers<undefined>();
  const stopTimer = systemClock.after(timeout_ms, () => giveUp(undefined));
  try {
    const before = await sessionOf(sql);
    const work = Promise.all([second.sql`begin`, sessionOf(second.sql)]);
    const answer = await Promise.race([work, gone, late]);
    if (!answer) return; // the pooler has no session left for a second one, so none is shared
    const [, other] = answer;
    const pids = [mine.pid, before.pid];
    if (pids.includes(other.pid)) throw pooled();
    if ((await sessionOf(sql)).pid !== mine.pid || before.pid !== mine.pid) throw pooled();
  } finally {
    stopTimer();
    second.drop();
  }
}

interface Session {
  /** The process that has served the statement. */
  pid: number;
  /** The process that was announced in the handshake. */
  announced: number | undefined;
}

export async function sessionOf(sql: Sql): Promise<Session> {
  const rows = await sql.unsafe('select pg_backend_pid() as pid');
  return { pid: Number(rows[0]?.pid), announced: rows.state?.pid ?? undefined };
}
