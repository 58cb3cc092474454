/** One connection through the fault proxy: passes messages on, and disturbs chosen statements. */
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { errorResponse, folded, frames, query, sqlstateOf, strings } from './postgres-messages.ts';

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

export class Relay {
  /** Texts of prepared statements by name. */
  private readonly texts = new Map<string, string>();
  /** What to do at each ReadyForQuery that is still to come. */
  private readonly answers: { fault: Fault; text: string }[] = [];
  /** The statement that was parsed, bound or sent last. */
  private last = '';
  /** What to do with it. */
  private fault: Fault = 'pass';
  private refused: string | undefined;
  /** Messages of a disturbed statement, up to its Sync. */
  private held: Buffer[] = [];
  /** Neither side receives anything more. */
  private silent = false;
  /** What the server gets after the client has lost the connection. */
  private late: Buffer[] | undefined;
  private readonly toClient;
  private readonly toStore;

  /** @param cut breaks both connections */
  constructor(
    private readonly client: Socket,
    private readonly store: Socket,
    private readonly proxy: StoreProxy,
    private readonly cut: () => void,
  ) {
    this.toClient = writer(client, proxy);
    this.toStore = writer(store, proxy);
    client.on('data', frames('client', this.fromClient.bind(this)));
    store.on('data', frames('store', this.fromStore.bind(this)));
    for (const socket of [client, store]) {
      socket.on('error', () => {});
      socket.on('close', () => {
        if (!this.silent) cut();
      });
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
    const answered = this.answers.shift();
    if (answered?.text) this.proxy.observe(answered.text, this.refused);
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
function writer(socket: Socket, proxy: StoreProxy): (bytes: Buffer) => void {
  let before: Promise<unknown> | undefined;
  return (bytes) => {
    if (proxy.slow_ms === 0 && !before) {
      socket.write(bytes);
      return;
    }
    const delayed = Promise.all([before, sleep(proxy.slow_ms)]).then(() => {
      socket.write(bytes);
      if (before === delayed) before = undefined;
    });
    before = delayed;
  };
}
