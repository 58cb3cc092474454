/**
 * A TCP proxy between Kassa and its store that disturbs chosen statements: the lost answer of a
 * COMMIT, a COMMIT that arrives late, a serialization failure. Hand-written, since general fault
 * proxies (toxiproxy) do not know where a statement begins or ends.
 */
import { createServer, type Socket } from 'node:net';
import { type CredentialFiles, readCredentials } from '../../db/connection/credentials.ts';
import { dial } from '../../db/connection/dial.ts';
import { firstOf } from '../../db/connection/first-of.ts';
import { Relay } from './proxy-relay.ts';
import { targetOf, withPort } from './store-address.ts';

const DIAL_MS = 3000;

/**
 * What happens to a statement:
 * - `cut`: the connection breaks before the statement is sent;
 * - `cut_after`: it breaks after the server has run the statement, before the answer is passed on;
 * - `late`: the client loses the connection now; the server gets this statement and all that were
 *   sent with it `late_ms` later;
 * - `stall`: neither side receives anything more, the connection stays open;
 * - `mute`: the server gets this statement and all after it, and its answers are dropped;
 * - `stall_within`: as `stall`, after half of the statement;
 * - `{ error }`: the transaction fails (a COMMIT rolls back) and the client gets this SQLSTATE;
 * - `{ error, done }`: the client gets this SQLSTATE, but the server has run the statement.
 * `routine` names the server function that reports the error.
 */
export type Fault =
  | 'pass'
  | 'cut'
  | 'cut_after'
  | 'late'
  | 'stall'
  | 'mute'
  | 'stall_within'
  | { error: string; routine?: string; done?: true };

export interface StoreProxy {
  /** The store's address through the proxy, without TLS. */
  database_url: string;
  /** Called for each statement of each connection, in order: lower case, blanks folded. */
  disturb: (statement: string) => Fault;
  /** Called for each statement that the store has answered, with the SQLSTATE of an error. */
  observe: (statement: string, refused: string | undefined) => void;
  /** How many rows the store has sent. */
  rows: number;
  /** Breaks all connections now. */
  cutAll(): void;
  /** Refuses new connections while true. */
  away: boolean;
  late_ms: number;
  /** Milliseconds by which each message is delayed, in both directions. */
  slow_ms: number;
  close(): Promise<void>;
}

/**
 * Starts a proxy to the server of `database_url` on a free port of 127.0.0.1. To read statements it
 * terminates TLS: it speaks TLS with the store, as address and files demand, and plain text with
 * Kassa. So a certificate is verified against the name of the store, not of the proxy.
 */
export async function startProxy(
  database_url: string,
  files: CredentialFiles = {},
): Promise<StoreProxy> {
  const { database_url: plain_url } = readCredentials(database_url, files);
  const cuts = new Set<() => void>();
  const server = createServer((client) =>
    accept(client, proxy, cuts, () => dialStore(database_url, files)),
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  const proxy: StoreProxy = {
    database_url: withPort(plain_url, port),
    disturb: () => 'pass',
    observe: () => {},
    cutAll: () => {
      for (const cut of cuts) cut();
    },
    rows: 0,
    away: false,
    late_ms: 300,
    slow_ms: 0,
    async close() {
      proxy.cutAll();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return proxy;
}

async function accept(
  client: Socket,
  proxy: StoreProxy,
  cuts: Set<() => void>,
  dialStore: () => Promise<Socket>,
): Promise<void> {
  let store: Socket | undefined;
  const cut = () => {
    cuts.delete(cut);
    client.destroy();
    store?.destroy();
  };
  cuts.add(cut);
  client.on('error', () => {});
  client.on('close', () => {
    if (!store) cut();
  });
  if (proxy.away) return cut();
  try {
    store = await dialStore();
    if (client.destroyed) return cut();
    new Relay(client, store, proxy, cut);
  } catch {
    cut(); // the store is away
  }
}

function dialStore(database_url: string, files: CredentialFiles): Promise<Socket> {
  const target = targetOf(database_url);
  const { tls } = readCredentials(database_url, files);
  const attempts = target.host.map((_, at) => () => dial(target, at, tls, DIAL_MS));
  return firstOf(attempts, DIAL_MS, (late) => late.destroy());
}
