/** The driver, every option written out: one connection that connects once and never again. */
import { connect as dial, type Socket } from 'node:net';
import postgres from 'postgres';
import {
  type CredentialFiles,
  type Credentials,
  readCredentials,
  type Tls,
} from './credentials.ts';
import { tuneSession } from './dialect.ts';
import { assert, Failure } from './failure.ts';
import { encrypt } from './tls.ts';

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
}

export interface Connection {
  readonly sql: Sql;
  /** Transactions take the store's gate first, which lets one in after the other: see dialect.ts. */
  readonly gated: boolean;
  /** False as soon as the connection is lost or closed; it never turns true again. */
  readonly alive: boolean;
  /**
   * Sends the statements together, in order, and resolves with how each ended. Rejects if the
   * connection is lost or the time is up (it is closed then): nothing is known of the answers.
   * A flight may be sent before the one ahead of it is answered; its time begins with that answer.
   * A time-out is `contention` if the first statement was answered, so the store is not away.
   * @param first_ms for the first answer, if that waits for no lock: a dead connection shows early
   */
  flight(statements: Statement[], timeout_ms: number, first_ms?: number): Promise<Settled[]>;
  /** Drops the socket at once; whatever is on its way is lost. */
  destroy(): void;
  close(): Promise<void>;
}
export type Settled = PromiseSettledResult<postgres.RowList<postgres.Row[]>>;

/** `tools` (migrations, audit) read whole tables and take their time; the others go by key. */
export type Purpose = 'transactions' | 'reads' | 'tools';

/**
 * Opens a connection to the store. A client with `max: 1` whose `socket` throws on its second call
 * can never reconnect, so no statement of a dead transaction can run inside another one: the
 * driver's own `begin` and `reserve` do not promise that.
 * @throws Failure store_unavailable
 */
export async function openConnection(address: StoreAddress, purpose: Purpose): Promise<Connection> {
  const credentials = readCredentials(address.database_url, address.files);
  const loss = Promise.withResolvers<never>();
  loss.promise.catch(() => {});
  let socket: Socket | undefined;
  let alive = true;
  let last_flight: Promise<unknown> = Promise.resolve();
  /** How the flights that are not answered yet learn of a loss. */
  const under_way = new Set<(why: Failure) => void>();

  const options = {
    ...driverOptions(address, credentials, purpose),
    socket: async (target: Target) => {
      if (socket || !alive) throw lostConnection();
      socket = await dialFirst(target, credentials.tls, address.connect_timeout_ms);
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
    destroy: () => destroy(lostConnection()),
    async close() {
      alive = false;
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
      idle_in_transaction_session_timeout: address.idle_in_transaction_timeout_ms,
    },
  };
}

/** int8 arrives as text; no amount here may pass 2^53 - 1, and none may be rounded in silence. */
function safeInteger(digits: string): number {
  const value = Number(digits);
  assert(Number.isSafeInteger(value), 'a safe integer', digits);
  return value;
}

/** What the driver has made of the URL. */
type Target = { host: string[]; port: number[]; path?: string | false };

/** The first of the URL's hosts that answers, starting anywhere, so that connections spread. */
async function dialFirst(
  target: Target,
  tls: Tls | undefined,
  timeout_ms: number,
): Promise<Socket> {
  const first = Math.floor(Math.random() * target.host.length);
  let failure: unknown;
  for (let i = 0; i < target.host.length; i++) {
    const at = (first + i) % target.host.length;
    try {
      return await dialOne(target, at, tls, timeout_ms / target.host.length);
    } catch (error) {
      failure = error;
    }
  }
  throw failure;
}

/** A socket in the file system is never encrypted, as with libpq. */
function dialOne(
  target: Target,
  at: number,
  tls: Tls | undefined,
  timeout_ms: number,
): Promise<Socket> {
  const host = target.host[at] ?? 'localhost';
  const port = Number(target.port[at] ?? target.port[0]);
  return new Promise((resolve, reject) => {
    const socket = target.path ? dial(target.path) : dial({ host, port, noDelay: true });
    const give_up = (cause?: unknown) => {
      clearTimeout(timer);
      socket.destroy();
      const none = new Failure('store_unavailable', `no answer from ${host}:${port}`, { cause });
      reject(cause instanceof Failure ? cause : none);
    };
    const timer = setTimeout(give_up, timeout_ms);
    socket.on('error', give_up);
    socket.once('connect', async () => {
      try {
        const ready = tls && !target.path ? await encrypt(socket, host, tls) : socket;
        clearTimeout(timer);
        if (ready === socket) socket.off('error', give_up);
        resolve(ready);
      } catch (cause) {
        give_up(cause);
      }
    });
  });
}
