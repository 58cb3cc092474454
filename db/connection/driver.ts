/** The driver, every option written out: a client that connects once and never again. */
import type { Socket } from 'node:net';
import postgres from 'postgres';
import { assert, Failure } from '../failure.ts';
import type { StoreAddress } from './connect.ts';
import { lostConnection, type Sql } from './connection.ts';
import { readCredentials } from './credentials.ts';
import { dial, type Target } from './dial.ts';

export interface Client {
  sql: Sql;
  /** The address allows that a tool reads from a standby. */
  standby: boolean;
  /** Drops the socket at once. */
  drop(): void;
}

/**
 * A client for one of the address's hosts; its first statement connects. One with `max: 1` whose
 * `socket` throws on its second call can never reconnect, so no statement of a dead transaction can
 * run inside another one: the driver's own `begin` and `reserve` do not promise that.
 * @param lost is told when the connection can't be made, or is gone
 * @throws Failure store_unavailable if the address or a file is wrong
 */
export function openClient(
  host: number,
  address: StoreAddress,
  lost: (why: Failure) => void,
): Client {
  assertPatched();
  const credentials = readCredentials(address.database_url, address.files);
  let socket: Socket | undefined;
  let dropped = false;
  const options = {
    ...driverOptions(address, credentials.password),
    socket: async (target: Target) => {
      if (socket || dropped) throw lostConnection();
      try {
        socket = await dial(target, host, credentials.tls, address.connect_timeout_ms);
      } catch (error) {
        lost(error as Failure); // the driver waits for a host that it believes to come next
        throw error;
      }
      if (dropped) socket.destroy();
      return socket;
    },
    onclose: () => lost(lostConnection()),
  };
  const sql = postgres<{ int8: postgres.PostgresType<number> }>(credentials.database_url, options);
  const drop = () => {
    dropped = true;
    socket?.destroy();
    sql.end({ timeout: 0 }).catch(() => {});
  };
  return { sql, standby: credentials.standby, drop };
}

/**
 * The driver as it comes sends a prepared statement that has failed in certain ways a second time,
 * behind all that was sent meanwhile: a write runs after its COMMIT, or in the next transaction.
 * db/patches takes that out; Bun applies it, other installers don't.
 * @throws Failure internal
 */
export function assertPatched(): void {
  if ('sends_once' in postgres) return;
  throw new Failure(
    'internal',
    'the driver in node_modules may send a write twice: install with `bun install`, which applies db/patches',
  );
}

/** No settings of the session: dialect.ts makes them, and sees that they hold. */
function driverOptions(
  address: StoreAddress,
  password: string | undefined,
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
    connection: { application_name: address.application_name },
  };
}

/** int8 arrives as text; no amount here may pass 2^53 - 1, and none may be rounded in silence. */
function safeInteger(digits: string): number {
  const value = Number(digits);
  assert(Number.isSafeInteger(value), 'a safe integer', digits);
  return value;
}
