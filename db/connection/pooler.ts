/** Poolers between us and the store: one that shares sessions between transactions is refused. */
import type { Sql } from './connection.ts';
import { pooled } from './dialect.ts';
import type { Client } from './driver.ts';

interface Limits {
  connect_timeout_ms: number;
}

/**
 * A server says the number of its process when it is connected to; a pooler has another one to say
 * then. Only behind such a one more is asked, for the price of a second connection: whether a
 * transaction on that runs in our session, or ours has moved meanwhile. PgBouncer lends the session
 * that was free last, others go round; others' work may hide it, so each new connection asks.
 * @throws Failure store_unavailable
 */
export async function assertOwnSession(
  sql: Sql,
  mine: Session,
  openSecond: (lost: (why: Error) => void) => Client,
  limits: Limits,
): Promise<void> {
  if (mine.told === undefined || mine.told === mine.pid) return;
  const { promise: gone, reject } = Promise.withResolvers<never>();
  gone.catch(() => {});
  const second = openSecond(reject);
  const { promise: late, resolve: giveUp } = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => giveUp(undefined), limits.connect_timeout_ms / 2);
  try {
    const before = await sessionOf(sql);
    const work = Promise.all([second.sql`begin`, sessionOf(second.sql)]);
    const answer = await Promise.race([work, gone, late]);
    if (!answer) return; // no session is left for a second one: none that could be shared
    const [, other] = answer;
    const pids = [mine.pid, before.pid];
    if (pids.includes(other.pid)) throw pooled();
    if ((await sessionOf(sql)).pid !== mine.pid || before.pid !== mine.pid) throw pooled();
  } finally {
    clearTimeout(timer);
    second.drop();
  }
}

interface Session {
  /** The process that has served this statement … */
  pid: number;
  /** … and the one that was named when we connected. */
  told: number | undefined;
}

export async function sessionOf(sql: Sql): Promise<Session> {
  const rows = await sql.unsafe('select pg_backend_pid() as pid');
  return { pid: Number(rows[0]?.pid), told: rows.state?.pid ?? undefined };
}
