/**
 * A TCP proxy between Kassa and its store that understands just enough of the PostgreSQL protocol
 * (message frames, statement texts) to disturb a chosen statement: the lost answer of a COMMIT, a
 * COMMIT that arrives late, a serialization failure.
 * https://www.postgresql.org/docs/18/protocol-message-formats.html
 */
import { createServer, type Server, type Socket } from 'node:net';
import { type CredentialFiles, readCredentials } from '../../db/connection/credentials.ts';
import { dial } from '../../db/connection/dial.ts';
import { firstOf } from '../../db/connection/first-of.ts';
import { targetOf, withPort } from './store-address.ts';

const DIAL_MS = 3000;

/**
 * What happens to a statement:
 * - `cut`: the connection breaks before the statement has gone;
 * - `cut_after`: it breaks when the server has done it, before the answer is passed on;
 * - `late`: the client loses the connection now, the server gets this statement and all that were
 *   sent with it `late_ms` later;
 * - `stall`: neither side hears anything any more, the connection stays open;
 * - `mute`: the store gets this statement and all after it, and is not heard any more;
 * - `stall_within`: as `stall`, and the server has half of the statement;
 * - `{ error }`: the transaction fails (a COMMIT rolls back) and the client is told this SQLSTATE;
 * - `{ error, done }`: the client is told this SQLSTATE, but the server has done the statement.
 * `routine` names the function of the server that fails.
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
  /** Asked for each statement of each connection, in order; texts are lower case, blanks folded. */
  disturb: (statement: string) => Fault;
  /** Told of each statement that the store has answered, with the SQLSTATE if it refused. */
  observe: (statement: string, refused: string | undefined) => void;
  /** How many rows the store has sent. */
  rows: number;
  /** Breaks all connections now. */
  cutAll(): void;
  /** Refuses new connections while true. */
  away: boolean;
  late_ms: number;
  /** Milliseconds by which each message is held up, in both directions. */
  slow_ms: number;
  close(): Promise<void>;
}

/**
 * Starts a proxy to the server of `database_url` on a free port of 127.0.0.1. To read statements it
 * has to end TLS itself: it speaks it with the store, as address and files ask for, and plain text
 * with Kassa. So a certificate is verified against the name of the store, not of the proxy.
 */
export async function startProxy(
  database_url: string,
  files: CredentialFiles = {},
): Promise<StoreProxy> {
  const target = targetOf(database_url);
  const cuts = new Set<() => void>();
  const server: Server = createServer(async (client) => {
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
      const { tls } = readCredentials(database_url, files);
      const ways = target.host.map((_, at) => () => dial(target, at, tls, DIAL_MS));
      store = await firstOf(ways, DIAL_MS, (late) => late.destroy());
      if (client.destroyed) return cut();
      relay(client, store, proxy, cut);
    } catch {
      cut(); // the store is away
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  const proxy: StoreProxy = {
    database_url: withPort(readCredentials(database_url, files).database_url, port),
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

function relay(client: Socket, store: Socket, proxy: StoreProxy, cut: () => void): void {
  /** Texts of prepared statements by name. */
  const texts = new Map<string, string>();
  /** What to do at each ReadyForQuery that is still to come. */
  const answers: { fault: Fault; text: string }[] = [];
  /** The statement that was parsed, bound or sent last. */
  let last = '';
  let refused: string | undefined;
  /** Messages of a disturbed statement, up to its Sync. */
  let held: Buffer[] = [];
  let fault: Fault = 'pass';
  let text: string | undefined;
  let silent = false;
  let late: Buffer[] | undefined;
  const toClient = writer(client, proxy);
  const toStore = writer(store, proxy);

  client.on(
    'data',
    frames('client', (type, message) => {
      if (late) late.push(message);
      if (silent) return;
      const started = statementOf(type, message, texts);
      if (type === 'P') last = texts.get(strings(message)[0] ?? '') ?? '';
      else last = started ?? last;
      if (started !== undefined) {
        text = started;
        fault = proxy.disturb(text);
      }
      held.push(message);
      const whole = type === 'S' || type === 'Q' || type === undefined;
      if (!whole && (fault !== 'pass' || !'HpX'.includes(type))) return;
      if (whole) answers.push({ fault, text: last });
      send(Buffer.concat(held), fault, text);
      held = [];
      if (whole) fault = 'pass';
    }),
  );

  store.on(
    'data',
    frames('store', (type, message) => {
      const next = answers[0]?.fault ?? 'pass';
      if (next === 'mute') silent = true;
      if (silent) return;
      if (type === 'D') proxy.rows++;
      if (type === 'E') refused = /\0C(\w{5})\0/.exec(message.toString('latin1'))?.[1];
      if (type === 'Z') {
        const answered = answers.shift();
        if (answered?.text) proxy.observe(answered.text, refused);
        refused = undefined;
        if (next === 'cut_after') {
          cut();
          return;
        }
        if (typeof next === 'object') toClient(failure(next.error, next.routine));
        toClient(message);
      } else if (next === 'pass') toClient(message);
    }),
  );

  for (const socket of [client, store]) {
    socket.on('error', () => {});
    socket.on('close', () => {
      if (!silent) cut();
    });
  }

  function send(messages: Buffer, what: Fault, text: string | undefined): void {
    if (what === 'stall' || what === 'stall_within' || what === 'late') silent = true;
    if (what === 'cut') cut();
    else if (what === 'late') {
      const all = [messages];
      late = all;
      setTimeout(() => client.destroy(), 10);
      const deliver = () => store.write(Buffer.concat(all), () => setTimeout(cut, 100));
      setTimeout(deliver, proxy.late_ms);
    } else if (typeof what === 'object' && !what.done) {
      toStore(query(text === 'commit' ? 'rollback' : 'select 1 / 0'));
    } else if (what === 'stall_within') store.write(messages.subarray(0, messages.length >> 1));
    else if (what !== 'stall') toStore(messages);
  }
}

/** Writes at once, or holds each message up without changing their order. */
function writer(socket: Socket, proxy: StoreProxy): (bytes: Buffer) => void {
  let before: Promise<unknown> | undefined;
  return (bytes) => {
    if (proxy.slow_ms === 0 && !before) {
      socket.write(bytes);
      return;
    }
    const held = Promise.all([before, Bun.sleep(proxy.slow_ms)]).then(() => {
      socket.write(bytes);
      if (before === held) before = undefined;
    });
    before = held;
  };
}

function query(text: string): Buffer {
  const head = Buffer.alloc(5, 'Q');
  head.writeInt32BE(text.length + 5, 1);
  return Buffer.concat([head, Buffer.from(`${text}\0`, 'latin1')]);
}

/** The text that a message is about to run, if it runs one. */
function statementOf(
  type: string | undefined,
  message: Buffer,
  texts: Map<string, string>,
): string | undefined {
  if (type === 'P') {
    const [name = '', text = ''] = strings(message);
    texts.set(name, text.toLowerCase().replace(/\s+/g, ' ').trim());
  }
  if (type === 'B') return texts.get(strings(message)[1] ?? '');
  if (type === 'Q') return strings(message)[0]?.toLowerCase().replace(/\s+/g, ' ').trim();
  return undefined;
}

/** The zero-terminated strings at the head of a message. */
const strings = (message: Buffer): string[] =>
  message.toString('latin1', 5, Math.min(message.length, 4096)).split('\0');

function failure(code: string, routine = 'Test'): Buffer {
  const fields = `SERROR\0VERROR\0C${code}\0Mforced by the test\0R${routine}\0\0`;
  const head = Buffer.alloc(5, 'E');
  head.writeInt32BE(fields.length + 4, 1);
  return Buffer.concat([head, Buffer.from(fields, 'latin1')]);
}

/** Cuts a byte stream into messages; only the first of a client has no type. */
function frames(
  from: 'client' | 'store',
  each: (type: string | undefined, message: Buffer) => void,
): (chunk: Buffer) => void {
  let rest = Buffer.alloc(0);
  let typed = from === 'store';
  return (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    for (;;) {
      const at = typed ? 1 : 0;
      if (rest.length < at + 4) return;
      const length = at + rest.readInt32BE(at);
      if (rest.length < length) return;
      const message = rest.subarray(0, length);
      rest = rest.subarray(length);
      each(typed ? String.fromCharCode(message[0] ?? 0) : undefined, message);
      typed = true;
    }
  };
}
