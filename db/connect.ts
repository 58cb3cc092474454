/** The driver, every option written out: one connection that connects once and never again. */
import type { Socket } from 'node:net';
import postgres from 'postgres';
import { systemClock } from './clock.ts';
import { type Connection, connectionOn, lostConnection } from './connection.ts';
import { type CredentialFiles, type Credentials, readCredentials } from './credentials.ts';
import { dial, type Target } from './dial.ts';
import { tuneSession } from './dialect.ts';
import { assert, Failure, isServerError } from './failure.ts';
import { firstOf } from './first-of.ts';

export interface StoreAddress {
  /** postgres://user:password@host[:port][,host2…]/database[?sslmode=…] */
  database_url: string;
  files?: CredentialFiles;
  application_name: string;
  /** TCP, TLS and authentication together. */
  connect_timeout_ms: number;
  /** For an answer that waits for no lock. */
  response_timeout_ms: number;
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
  let socket: Socket | undefined;
  let lost = false;
  const options = {
    ...driverOptions(address, credentials, purpose),
    socket: async (target: Target) => {
      if (socket || lost) throw lostConnection();
      socket = await dial(target, host, credentials.tls, address.connect_timeout_ms);
      return socket;
    },
    onclose: () => lose(lostConnection()),
  };
  const sql = postgres<{ int8: postgres.PostgresType<number> }>(credentials.database_url, options);
  const features = { gated: false, upserts: false };
  const { connection, lose } = connectionOn({
    sql,
    features,
    clock: systemClock,
    stale_at: performance.now() + lifetimeOf(address),
    ...(purpose === 'reads' && { isServing: () => isServing(host, address) }),
    drop() {
      lost = true;
      socket?.destroy();
      sql.end({ timeout: 0 }).catch(() => {});
    },
    end: () => sql.end({ timeout: 1 }),
  });

  const late = systemClock.after(address.connect_timeout_ms, () => {
    lose(new Failure('store_unavailable', 'connecting timed out'));
  });
  try {
    const tuned = tuneSession(sql, purpose, address).catch((cause) => {
      throw new Failure('store_unavailable', 'cannot connect', { cause });
    });
    Object.assign(features, await connection.whileAlive(tuned));
    return connection;
  } catch (error) {
    connection.destroy();
    throw error;
  } finally {
    late();
  }
}

/**
 * Whether one of the address's hosts still serves: a session of its own must begin in time. An
 * error of the server is an answer too. Behind a balancer another server may answer.
 */
async function isServing(host: number, address: StoreAddress): Promise<boolean> {
  const brief = { ...address, connect_timeout_ms: address.response_timeout_ms };
  try {
    const connection = await connectTo(host, brief, 'tools');
    void connection.close();
    return true;
  } catch (error) {
    return error instanceof Failure && isServerError(error.cause);
  }
}

/** Ten percent more or less, so that the connections of a fleet don't end together. */
const lifetimeOf = ({ connection_lifetime_ms: ms }: StoreAddress): number =>
  ms === 0 ? Number.POSITIVE_INFINITY : ms * (0.9 + 0.2 * Math.random());

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
