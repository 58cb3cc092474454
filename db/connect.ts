/** The driver, every option written out: one connection that connects once and never again. */
import type { Socket } from 'node:net';
import postgres from 'postgres';
import { type CredentialFiles, type Credentials, readCredentials } from './credentials.ts';
import { dial, type Target } from './dial.ts';
import { tuneSession } from './dialect.ts';
import { assert, Failure } from './failure.ts';
import { firstOf } from './first-of.ts';

export type Sql = postgres.Sql<{ int8: number }>;
/** A statement that has not been sent yet: the driver is lazy until `execute` or `await`. */
export type Statement = postgres.PendingQuery<postgres.Row[]>;

export interface StoreAddress {
  /** postgres://user:password@host[:port][,host2…]/database[?sslmode=…] */
  database_url: string;
  files?: CredentialFiles;
  application_name: string;
  /** TCP, TLS and authentication together. */
  connect_timeout_ms: number;
  /** Kept by the server; the client waits a little longer and then gives the connection up. */
  statement_timeout_ms: number;
  /** How long the server lets a transaction wait for its client before it ends the session. */
  idle_in_transaction_timeout_ms: number;
  /** How long PostgreSQL lets a statement wait for a lock: then its batch is split. */
  lock_timeout_ms: number;
  /** How long the server lets a transaction last, whatever its client does. */
  transaction_timeout_ms: number;
  /** After about this time a connection is stale; 0 is never. */
  connection_lifetime_ms: number;
}

export interface Connection {
  readonly sql: Sql;
  /** Transactions take the store's gate first, which lets one in after the other: see dialect.ts. */
  readonly gated: boolean;
  /** False as soon as the connection is lost or closed; it never turns true again. */
  readonly alive: boolean;
  /** It has served long enough: to be replaced when convenient, so that load moves to new nodes. */
  readonly stale: boolean;
  /** Not stale for a while: there is no other to be had. */
  keep(): void;
  /**
   * Sends the statements together, in order, and resolves with how each ended. Rejects if the
   * connection is lost or the time is up (it is closed then): nothing is known of the answers.
   * A flight may be sent before the one ahead of it is answered; its time begins with that answer.
   * A time-out is `contention` if the first statement was answered, so the store is not away.
   * @param first_ms for the first answer, if that waits for no lock: a dead connection shows early
   */
  flight(statements: Statement[], timeout_ms: number, first_ms?: number): Promise<Settled[]>;
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
export type Settled = PromiseSettledResult<postgres.RowList<postgres.Row[]>>;

/** `tools` (migrations, audit) read whole tables and take their time; the others go by key. */
export type Purpose = 'transactions' | 'reads' | 'tools';

/**
 * Opens a connection to the first of the address's hosts that answers in SQL, starting with any of
 * them, so that connections spread. One that has the port open and is silent costs little.
 * @throws Failure store_unavailable
 */
export function openConnection(address: StoreAddress, purpose: Purpose): Promise<Connection> {
  const [, hosts = ''] = /^\w+:\/\/(?:[^@/]*@)?([^/?]*)/.exec(address.database_url) ?? [];
  const count = hosts.split(',').length;
  const first = Math.floor(Math.random() * count);
  const ways = Array.from({ length: count }, (_, i) => {
    return () => connectTo((first + i) % count, address, purpose);
  });
  return firstOf(ways, NEXT_HOST_MS, (late) => late.destroy());
}

/** How long a host may be silent before the next is tried too. */
const NEXT_HOST_MS = 500;

/**
 * Opens a connection to one of the address's hosts. A client with `max: 1` whose `socket` throws on
 * its second call can never reconnect, so no statement of a dead transaction can run inside another
 * one: the driver's own `begin` and `reserve` do not promise that.
 * @throws Failure store_unavailable
 */
async function connectTo(
  host: number,
  address: StoreAddress,
  purpose: Purpose,
): Promise<Connection> {
  const credentials = readCredentials(address.database_url, address.files);
  const loss = Promise.withResolvers<never>();
  loss.promise.catch(() => {});
  let socket: Socket | undefined;
  let alive = true;
  let stale_at = performance.now() + lifetimeOf(address);
  let last_flight: Promise<unknown> = Promise.resolve();
  /** How those who wait for an answer learn of a loss. */
  const under_way = new Set<(why: Failure) => void>();

  const options = {
    ...driverOptions(address, credentials, purpose),
    socket: async (target: Target) => {
      if (socket || !alive) throw lostConnection();
      socket = await dial(target, host, credentials.tls, address.connect_timeout_ms);
      return socket;
    },
    onclose: () => lose(lostConnection()),
  };
  const sql = postgres<{ int8: postgres.PostgresType<number> }>(credentials.database_url, options);

  let gated = false;
  const connection: Connection = {
    sql,
    get gated() {
      return gated;
    },
    get alive() {
      return alive;
    },
    get stale() {
      return performance.now() > stale_at;
    },
    keep() {
      stale_at = performance.now() + KEEP_MS;
    },
    async flight(statements, timeout_ms, first_ms = timeout_ms) {
      if (!alive) throw lostConnection();
      const before = last_flight;
      const [first] = statements;
      let answered = false;
      const silent = () => {
        if (!answered) destroy(new Failure('store_unavailable', 'no answer in time'));
      };
      const late = () => {
        if (answered) destroy(new Failure('contention', 'others held a lock for too long'));
        else silent();
      };
      const timers: ReturnType<typeof setTimeout>[] = [];
      // Not a race with one promise of the loss: that would keep every answer until the loss.
      const { promise, resolve, reject } = Promise.withResolvers<Settled[]>();
      under_way.add(reject);
      const answers = Promise.allSettled(statements.map((statement) => statement.execute()));
      answers.then(resolve);
      last_flight = answers;
      first?.then(
        () => (answered = true),
        () => {},
      );
      before.then(() => {
        if (!under_way.has(reject)) return;
        timers.push(setTimeout(late, timeout_ms), setTimeout(silent, first_ms));
      });
      try {
        return await promise;
      } finally {
        under_way.delete(reject);
        timers.forEach(clearTimeout);
      }
    },
    whileAlive<T>(work: Promise<T>) {
      const { promise, resolve, reject } = Promise.withResolvers<T>();
      work.then(resolve, reject);
      if (alive) under_way.add(reject);
      else reject(lostConnection());
      return promise.finally(() => under_way.delete(reject));
    },
    destroy: () => destroy(lostConnection()),
    async close() {
      alive = false;
      await Promise.race([last_flight, loss.promise]).catch(() => {}); // each has its time limit
      await sql.end({ timeout: 1 });
    },
  };

  try {
    const steps = tuneSession(sql, purpose, address).then(
      (features) => {
        gated = features.gated;
      },
      (cause) => Promise.reject(new Failure('store_unavailable', 'cannot connect', { cause })),
    );
    const late = new Failure('store_unavailable', 'connecting timed out');
    const timer = setTimeout(() => destroy(late), address.connect_timeout_ms);
    await Promise.race([steps, loss.promise]).finally(() => clearTimeout(timer));
    return connection;
  } catch (error) {
    destroy(lostConnection());
    throw error;
  }

  function lose(why: Failure) {
    alive = false;
    loss.reject(why);
    for (const reject of under_way) reject(why);
  }
  function destroy(why: Failure) {
    lose(why);
    socket?.destroy();
    sql.end({ timeout: 0 }).catch(() => {});
  }
}

/** Ten percent more or less, so that the connections of a fleet don't end together. */
const lifetimeOf = ({ connection_lifetime_ms: ms }: StoreAddress): number =>
  ms === 0 ? Number.POSITIVE_INFINITY : ms * (0.9 + 0.2 * Math.random());

const KEEP_MS = 30_000;

const lostConnection = () => new Failure('store_unavailable', 'the connection was lost');

function driverOptions(
  address: StoreAddress,
  { password }: Credentials,
  purpose: Purpose,
): postgres.Options<{ int8: postgres.PostgresType<number> }> {
  return {
    max: 1,
    ssl: false, // the socket that the driver is given is encrypted already
    ...(password !== undefined && { pass: password }),
    prepare: true,
    fetch_types: false,
    idle_timeout: 0,
    max_lifetime: 0,
    connect_timeout: address.connect_timeout_ms / 1000,
    backoff: false,
    keep_alive: 15,
    debug: false,
    onnotice: () => {},
    types: { int8: { to: 20, from: [20], serialize: String, parse: safeInteger } },
    connection: {
      application_name: address.application_name,
      default_transaction_isolation: purpose === 'reads' ? 'read committed' : 'serializable',
      statement_timeout: purpose === 'tools' ? 0 : address.statement_timeout_ms,
    },
  };
}

/** int8 arrives as text; no amount here may pass 2^53 - 1, and none may be rounded in silence. */
function safeInteger(digits: string): number {
  const value = Number(digits);
  assert(Number.isSafeInteger(value), 'a safe integer', digits);
  return value;
}
