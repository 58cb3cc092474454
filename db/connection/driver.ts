/** The driver with every option written out: a client that connects once and never reconnects. */
import type { Socket } from 'node:net';
import postgres from 'postgres';
import { assert, Failure } from '../failure.ts';
import type { StoreAddress } from './address.ts';
import type { Sql } from './connection.ts';
import { readCredentials } from './credentials.ts';
import { dial, type Target } from './dial.ts';
import { lostConnection } from './link.ts';

export interface Client {
  sql: Sql;
  /** The address lets a tool read from a standby. */
  standby_allowed: boolean;
  /** Drops the socket at once. */
  drop(): void;
}

/**
 * A client for one host of the address; its first statement connects. With `max: 1` and a `socket`
 * that throws on its second call it can never reconnect, so no statement of a dead transaction can
 * run inside another one: the driver's own `begin` and `reserve` do not guarantee that.
 * @param lost called when the connection cannot be made, or is gone
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
        lost(error as Failure); // the driver would wait for a next host
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
  return { sql, standby_allowed: credentials.standby_allowed, drop };
}

/**
 * The unpatched driver sends a prepared statement again after certain errors, behind everything
 * that was sent in the meantime: a write then runs after its COMMIT, or in the next transaction.
 * db/patches removes that. Bun applies the patch; other installers do not.
 * @throws Failure internal
 */
export function assertPatched(): void {
  if ('sends_once' in postgres) return;
  throw new Failure(
    'internal',
    'the driver in node_modules may send a write twice: install with `bun install`, which applies db/patches',
  );
}

/** No settings of the session: session.ts makes them, and checks that they hold. */
function driverOptions(
  address: StoreAddress,
  password: string | undefined,
): postgres.Options<{ int8: postgres.PostgresType<number> }> {
  return {
    max: 1,
    ssl: false, // `dial` has encrypted the socket already
    ...(password !== undefined && { pass: password }),
    prepare: true,
    fetch_types: false,
    idle_timeout: 0,
    max_lifetime: 0,
    connect_timeout: 0, // whoever opens a connection limits the time
    backoff: false,
    keep_alive: 15,
    debug: false,
    onnotice: () => {},
    types: { int8: { to: 20, from: [20], serialize: String, parse: safeInteger } },
    connection: { application_name: address.application_name },
  };
}

/** The driver delivers int8 as text. No amount exceeds 2^53 - 1, and none is rounded silently. */
function safeInteger(digits: string): number {
  const value = Number(digits);
  assert(Number.isSafeInteger(value), 'a safe integer', digits);
  return value;
}
