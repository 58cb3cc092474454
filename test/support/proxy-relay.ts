/** One connection through the fault proxy: passes messages on, and disturbs chosen statements. */
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** What happens to a statement. */
export type Fault =
  | 'pass'
  /** The connection breaks before the statement is sent. */
  | 'cut'
  /** It breaks after the server has run the statement, before the answer is passed on. */
  | 'cut_after'
  /** The client loses the connection now; the server gets this and what follows `late_ms` later. */
  | 'late'
  /** Neither side receives anything more, the connection stays open. */
  | 'stall'
  /** The same after half of the statement. */
  | 'stall_within'
  /** The server gets this statement and all after it, and its answers are dropped. */
  | 'mute'
  /**
   * The client gets this SQLSTATE, from this function of the server, after the transaction has
   * failed (a COMMIT rolls back) or, if `done`, after the statement has run.
   */
  | { error: string; routine?: string; done?: true };

/** What a test may set at any time. */
export const switches = () => ({
  /** Called for each statement of each connection, in order: lower case, blanks folded. */
  disturb: (_statement: string): Fault => 'pass',
  /** Called for each statement that the store has answered, with the SQLSTATE of an error. */
  observe: (_statement: string, _refused: string | undefined): void => {},
  rows: 0, // that the store has sent
  away: false, // refuses new connections
  late_ms: 300,
  slow_ms: 0, // by which each message is delayed, in both directions
});
type Switches = ReturnType<typeof switches>;

export class Relay {
  private readonly texts = new Map<string, string>(); // of prepared statements, by name
  /** What to do at each ReadyForQuery that is still to come. */
  private readonly answers: { fault: Fault; text: string }[] = [];
  private last = ''; // the statement that was parsed, bound or sent last
  private fault: Fault = 'pass'; // what to do with it
  private refused: string | undefined;
  private held: Buffer[] = []; // the messages of a disturbed statement, up to its Sync
  private silent = false; // neither side receives anything more
  private late: Buffer[] | undefined; // for the server, after the client has lost the connection
  private readonly toClient;
  private readonly toStore;

  /** @param cut breaks both connections */
  constructor(
    private readonly client: Socket,
    private readonly store: Socket,
    private readonly proxy: Switches,
    private readonly cut: () => void,
  ) {
    this.toClient = writer(client, proxy);
    this.toStore = writer(store, proxy);
    client.on('data', frames('client', this.fromClient.bind(this)));
    store.on('data', frames('store', this.fromStore.bind(this)));
    for (const socket of [client, store]) {
      socket.on('error', () => {}).on('close', () => this.silent || cut());
    }
  }

  private fromClient(type: string | undefined, message: Buffer): void {
    this.late?.push(message);
    if (this.silent) return;
    this.note(type, message);
    this.held.push(message);
    const whole = type === 'S' || type === 'Q' || type === undefined;
    if (!whole && (this.fault !== 'pass' || !'HpX'.includes(type))) return;
    if (whole) this.answers.push({ fault: this.fault, text: this.last });
    this.send(Buffer.concat(this.held));
    this.held = [];
    if (whole) this.fault = 'pass';
  }

  /** Keeps the text of a Parse, and asks what to do with a statement that is about to run. */
  private note(type: string | undefined, message: Buffer): void {
    const [first = '', second = ''] = strings(message);
    if (type === 'P') {
      this.last = folded(second);
      this.texts.set(first, this.last);
    } else if (type === 'B' || type === 'Q') {
      this.last = (type === 'Q' ? folded(first) : this.texts.get(second)) ?? '';
      this.fault = this.proxy.disturb(this.last);
    }
  }

  private send(messages: Buffer): void {
    const { fault, store } = this;
    if (fault === 'stall' || fault === 'stall_within' || fault === 'late') this.silent = true;
    if (fault === 'cut') this.cut();
    else if (fault === 'late') void this.deliverLate(messages);
    else if (typeof fault === 'object' && !fault.done) {
      this.toStore(query(this.last === 'commit' ? 'rollback' : 'select 1 / 0'));
    } else if (fault === 'stall_within') store.write(messages.subarray(0, messages.length >> 1));
    else if (fault !== 'stall') this.toStore(messages);
  }

  /** First the client loses the connection, then the server gets the messages. */
  private async deliverLate(messages: Buffer): Promise<void> {
    this.late = [messages];
    const due = sleep(this.proxy.late_ms);
    await sleep(10);
    this.client.destroy();
    await due;
    this.store.write(Buffer.concat(this.late), () => setTimeout(this.cut, 100));
  }

  private fromStore(type: string | undefined, message: Buffer): void {
    const next = this.answers[0]?.fault ?? 'pass';
    if (next === 'mute') this.silent = true;
    if (this.silent) return;
    if (type === 'D') this.proxy.rows++;
    if (type === 'E') this.refused = sqlstateOf(message);
    if (type === 'Z') this.ready(message, next);
    else if (next === 'pass') this.toClient(message);
  }

  /** ReadyForQuery: the statement and its answer are complete. */
  private ready(message: Buffer, fault: Fault): void {
    const text = this.answers.shift()?.text;
    if (text) this.proxy.observe(text, this.refused);
    this.refused = undefined;
    if (fault === 'cut_after') {
      this.cut();
      return;
    }
    if (typeof fault === 'object') this.toClient(errorResponse(fault.error, fault.routine));
    this.toClient(message);
  }
}

/** Writes at once, or delays each message by `slow_ms` without changing their order. */
function writer(socket: Socket, proxy: Switches): (bytes: Buffer) => void {
  let before: Promise<unknown> | undefined;
  return (bytes) => {
    if (proxy.slow_ms === 0 && !before) return void socket.write(bytes);
    const delayed = Promise.all([before, sleep(proxy.slow_ms)]).then(() => {
      socket.write(bytes);
      if (before === delayed) before = undefined;
    });
    before = delayed;
  };
}

// Just enough of https://www.postgresql.org/docs/18/protocol-message-formats.html

/** Splits a byte stream into messages. Only a client's first message has no type. */
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

/** The zero-terminated strings at the head of a message. */
const strings = (message: Buffer): string[] =>
  message.toString('latin1', 5, Math.min(message.length, 4096)).split('\0');

/** A statement in lower case, with blanks folded. */
const folded = (text: string): string => text.toLowerCase().replace(/\s+/g, ' ').trim();

const sqlstateOf = (message: Buffer): string | undefined =>
  /\0C(\w{5})\0/.exec(message.toString('latin1'))?.[1];

const query = (text: string): Buffer => typed('Q', `${text}\0`);

const errorResponse = (code: string, routine = 'Test'): Buffer =>
  typed('E', `SERROR\0VERROR\0C${code}\0Mforced by the test\0R${routine}\0\0`);

function typed(type: string, content: string): Buffer {
  const head = Buffer.alloc(5, type);
  head.writeInt32BE(content.length + 4, 1);
  return Buffer.concat([head, Buffer.from(content, 'latin1')]);
}
