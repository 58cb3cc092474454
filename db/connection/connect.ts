/** How a connection to the store is made: to which host, in how much time, and checked. */
import { systemClock } from '../clock.ts';
import { Failure, isServerError, rootCodeOf } from '../failure.ts';
import { type Connection, connectionOn } from './connection.ts';
import type { CredentialFiles } from './credentials.ts';
import { tuneSession } from './dialect.ts';
import { openClient } from './driver.ts';
import { firstOf } from './first-of.ts';
import { assertOwnSession, sessionOf } from './pooler.ts';

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
 * Opens a connection to the first of the address's hosts that answers in SQL and is a primary,
 * starting with any of them, so that connections spread. One that has the port open and is silent
 * costs little.
 * @throws Failure store_unavailable that names each host with its reason
 */
export function openConnection(address: StoreAddress, purpose: Purpose): Promise<Connection> {
  const hosts = hostsOf(address.database_url);
  const first = Math.floor(Math.random() * hosts.length);
  const order = hosts.map((_, i) => (first + i) % hosts.length);
  const ways = order.map((host) => () => connectTo(host, address, purpose));
  return firstOf(ways, NEXT_HOST_MS, (late) => late.destroy()).catch((cause: AggregateError) => {
    const [only, ...others] = cause.errors;
    if (others.length === 0) throw only;
    const reasons = order.map((host, i) => `${hosts[host]}: ${reasonOf(cause.errors[i])}`);
    throw new Failure('store_unavailable', reasons.sort().join('; '), { cause });
  });
}

/** Hosts with their ports, for people: no user and no password. */
const hostsOf = (database_url: string): string[] => {
  const [, hosts = ''] = /^\w+:\/\/(?:[^@/]*@)?([^/?]*)/.exec(database_url) ?? [];
  return decodeURIComponent(hosts).split(',');
};

/** What the server said, or what the network or TLS reports, or what we found. */
function reasonOf(error: unknown): string {
  let inner = error;
  while (inner instanceof Error && inner.cause instanceof Error) inner = inner.cause;
  const code = rootCodeOf(error);
  if (isServerError(inner)) return `${(inner as Error).message} (${code})`;
  if (inner instanceof Failure) return inner.detail;
  const told = error instanceof Failure ? error.detail : String(error);
  return code && !told.includes(code) ? `${told} (${code})` : told;
}

/** How long a host may be silent before the next is tried too. */
const NEXT_HOST_MS = 500;

/** @throws Failure store_unavailable */
async function connectTo(
  host: number,
  address: StoreAddress,
  purpose: Purpose,
): Promise<Connection> {
  const client = openClient(host, address, (why) => lose(why));
  const features = { gated: false, upserts: false };
  const { connection, lose } = connectionOn({
    sql: client.sql,
    features,
    clock: systemClock,
    stale_at: performance.now() + lifetimeOf(address),
    ...(purpose === 'reads' && { isServing: () => isServing(host, address) }),
    drop: client.drop,
    end: () => client.sql.end({ timeout: 1 }),
  });

  const late = systemClock.after(address.connect_timeout_ms, () => {
    lose(new Failure('store_unavailable', 'connecting timed out'));
  });
  const ready = async () => {
    const standby = purpose === 'tools' && client.standby;
    const [tuned, session] = await Promise.all([
      tuneSession(client.sql, purpose, { ...address, standby }),
      sessionOf(client.sql),
    ]);
    const openSecond = (lost: (why: Failure) => void) => openClient(host, address, lost);
    await assertOwnSession(client.sql, session, openSecond, address);
    return tuned;
  };
  try {
    const tuned = ready().catch((cause) => {
      throw cause instanceof Failure ? cause : cannotConnect(cause);
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

const cannotConnect = (cause: unknown): Failure =>
  new Failure('store_unavailable', 'cannot connect', { cause });

/** Ten percent more or less, so that the connections of a fleet don't end together. */
const lifetimeOf = ({ connection_lifetime_ms: ms }: StoreAddress): number =>
  ms === 0 ? Number.POSITIVE_INFINITY : ms * (0.9 + 0.2 * Math.random());
