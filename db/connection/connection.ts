/** A connection to the store: statements in flights, each with a time limit, on a link that is lost once. */
import type postgres from 'postgres';
import type { Clock } from '../clock.ts';
import { Failure, isSpentSession } from '../failure.ts';

export type Sql = postgres.Sql<{ int8: number }>;
/** A statement that has not been sent yet: the driver is lazy until `execute` or `await`. */
export type Statement = postgres.PendingQuery<postgres.Row[]>;
export type Settled = PromiseSettledResult<postgres.RowList<postgres.Row[]>>;

export interface Connection {
  readonly sql: Sql;
  /** Transactions take the store's gate first, which lets one in after the other: see dialect.ts. */
  readonly gated: boolean;
  /** Changed rows are written with UPSERT, which does not read them again: see dialect.ts. */
  readonly upserts: boolean;
  /** False as soon as the connection is lost or closed; it never turns true again. */
  readonly alive: boolean;
  /** It has served long enough: to be replaced when convenient, so that load moves to new nodes. */
  readonly stale: boolean;
  /** Postpones staleness: no replacement could be opened. */
  keep(): void;
  /**
   * Sends the statements together, in order, and resolves with how each ended. Rejects if the
   * connection is lost or the time is up (it is closed then): nothing is known of the answers.
   * A flight may be sent before the one ahead of it is answered; its time begins with that answer.
   * A time-out is `contention` if the first statement was answered, so the store is not away.
   * An answer that says that the session is spent (isSpentSession) is the connection's last.
   * On a connection that is not alive nothing is sent.
   * @param first_ms for the first answer: a dead connection shows early. Where the server can be
   *   asked whether it still serves, the flight may wait for a lock for longer; else it must not
   * @param waits is told then that the server serves, and keeps the flight waiting
   */
  flight(
    statements: Statement[],
    timeout_ms: number,
    first_ms?: number,
    waits?: () => void,
  ): Promise<Settled[]>;
  /**
   * Ends when the work does, or rejects when the connection is lost: the driver never settles a
   * statement that is sent between a socket's end and the driver's notice of it. For work that
   * sends its statements otherwise than in a flight.
   */
  whileAlive<T>(work: Promise<T>): Promise<T>;
  /** Drops the socket at once; whatever is on its way is lost. */
  destroy(): void;
  /** Takes no more flights, waits for those under way, and says goodbye to the store. */
  close(): Promise<void>;
}

/** The rows of a statement that must have worked. @throws its error */
export function rowsOf(answer: Settled): postgres.RowList<postgres.Row[]> {
  if (answer.status === 'rejected') throw answer.reason;
  return answer.value;
}

/** What the engine does differently on this server: see dialect.ts. */
export type Features = Pick<Connection, 'gated' | 'upserts'>;

/** What a connection runs on: the driver's client, or a simulated one. */
export interface Link {
  sql: Sql;
  features: Features;
  clock: Clock;
  /** When the connection turns stale, by the clock. */
  stale_at: number;
  /** Whether the server of this link answers others: asked when it is silent here. */
  isServing?(): Promise<boolean>;
  /** Drops the socket. */
  drop(): void;
  /** Ends the session in an orderly way. */
  end(): Promise<void>;
}

/** For how long a stale connection goes on if no replacement can be opened. */
const KEEP_MS = 30_000;

export const lostConnection = () => new Failure('store_unavailable', 'the connection was lost');

/** @returns the connection, and `lose`, by which the link tells that it is gone */
export function connectionOn(link: Link): { connection: Connection; lose(why: Failure): void } {
  const { sql, features, clock } = link;
  let { stale_at } = link;
  let alive = true;
  let last_flight: Promise<unknown> = Promise.resolve();
  /** How those who wait for an answer learn of a loss. */
  const under_way = new Set<(why: Failure) => void>();
  const connection: Connection = {
    sql,
    get gated() {
      return features.gated;
    },
    get upserts() {
      return features.upserts;
    },
    get alive() {
      return alive;
    },
    get stale() {
      return clock.now() > stale_at;
    },
    keep() {
      stale_at = clock.now() + KEEP_MS;
    },
    flight,
    whileAlive,
    destroy: () => destroy(lostConnection()),
    async close() {
      const ended = whileAlive(last_flight).catch(() => {}); // each has its time limit
      alive = false;
      await ended;
      await link.end();
    },
  };
  return { connection, lose };

  async function flight(
    statements: Statement[],
    timeout_ms: number,
    first_ms = timeout_ms,
    waits = () => {},
  ) {
    if (!alive) throw lostConnection();
    const before = last_flight;
    const [first] = statements;
    let answered = false;
    let isOver = () => false;
    const silent = async () => {
      if (answered) return;
      if (link.isServing) {
        const serving = await link.isServing();
        if (isOver()) return;
        if (serving) {
          timers.push(clock.after(first_ms, silent));
          return waits();
        }
      }
      destroy(new Failure('store_unavailable', 'no answer in time'));
    };
    /** A server that lives has ended what waited for a lock: see `statement_timeout_ms`. */
    const late = () =>
      destroy(
        answered
          ? new Failure('contention', 'others held a lock for too long')
          : new Failure('store_unavailable', 'no answer in time'),
      );
    const answers = Promise.allSettled(statements.map((statement) => statement.execute()));
    last_flight = answers;
    first?.then(
      () => (answered = true),
      () => {},
    );
    const timers: (() => void)[] = [];
    const waiting = whileWaiting(answers, (over) => {
      isOver = over;
      before.then(() => {
        if (!over()) timers.push(clock.after(first_ms, silent), clock.after(timeout_ms, late));
      });
    });
    // Behind the answers themselves, which are known.
    answers.then((settled) => {
      const spent = settled.find((one) => one.status === 'rejected' && isSpentSession(one.reason));
      if (spent) destroy(new Failure('store_unavailable', 'the session is not what it was'));
    });
    return waiting.finally(() => {
      for (const callOff of timers) callOff();
    });
  }

  function whileAlive<T>(work: Promise<T>): Promise<T> {
    if (alive) return whileWaiting(work);
    work.catch(() => {}); // it fails too, or never ends
    return Promise.reject(lostConnection());
  }

  /** Not a race with one promise of the loss: that would keep every answer until the loss. */
  function whileWaiting<T>(work: Promise<T>, begun = (_over: () => boolean) => {}): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    work.then(resolve, reject);
    under_way.add(reject);
    begun(() => !under_way.has(reject));
    return promise.finally(() => under_way.delete(reject));
  }

  function lose(why: Failure): void {
    alive = false;
    for (const reject of under_way) reject(why);
  }

  function destroy(why: Failure): void {
    lose(why);
    link.drop();
  }
}
