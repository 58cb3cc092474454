/**
 * A TCP proxy between Kassa and its store that disturbs chosen statements: the lost answer of a
 * COMMIT, a COMMIT that arrives late, a serialization failure. Hand-written, since general fault
 * proxies (toxiproxy) do not know where a statement begins or ends.
 */
import { createServer, type Socket } from 'node:net';
import { type CredentialFiles, readCredentials } from '../../db/connection/credentials.ts';
import { dial } from '../../db/connection/dial.ts';
import { firstOf } from '../../db/connection/first-of.ts';
import { listen } from './process.ts';
import { Relay, switches } from './proxy-relay.ts';
import { targetOf, withPort } from './store-address.ts';

export type { Fault } from './proxy-relay.ts';
export type StoreProxy = Awaited<ReturnType<typeof startProxy>>;

const DIAL_MS = 3000;

/**
 * Starts a proxy to the server of `database_url` on a free port of 127.0.0.1. To read statements it
 * terminates TLS: it speaks TLS with the store, as address and files demand, and plain text with
 * Kassa. So a certificate is verified against the name of the store, not of the proxy.
 */
export async function startProxy(database_url: string, files: CredentialFiles = {}) {
  const { database_url: plain_url, tls } = readCredentials(database_url, files);
  const target = targetOf(database_url);
  const hosts = target.host.map((_, at) => () => dial(target, at, tls, DIAL_MS));
  const cuts = new Set<() => void>();
  const cutAll = () => {
    for (const cut of cuts) cut();
  };
  const proxy = switches();
  const server = createServer(async (client) => {
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
      store = await firstOf(hosts, DIAL_MS, (late) => late.destroy());
      if (client.destroyed) return cut();
      new Relay(client, store, proxy, cut);
    } catch {
      cut(); // the store is away
    }
  });
  return Object.assign(proxy, {
    /** The store's address through the proxy, without TLS. */
    database_url: withPort(plain_url, await listen(server)),
    /** Breaks all connections now. */
    cutAll,
    async close() {
      cutAll();
      await new Promise((resolve) => server.close(resolve));
    },
  });
}
