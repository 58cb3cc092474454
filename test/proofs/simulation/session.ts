/** The server's side of one connection: statements in order, one transaction, limits, faults. */
import { GATE, isMarker, performerOf, type SimStatement } from './sql.ts';
import { type ModelStore, type Row, serverError, Transaction, type Written } from './store.ts';
import type { Event } from './time.ts';

export type Reply = { rows: Row[]; command: string } | { error: Error };

/** A statement on its way to the server, with the fault that the seed has chosen for it. */
export interface Message {
  statement: SimStatement;
  fault?: { code: string; done: boolean } | undefined;
  reply(reply: Reply): void;
}

export interface SessionContext {
  store: ModelStore;
  idle_in_transaction_ms: number;
  /** How long the server takes for one statement. */
  think(): number;
  /** Called after a commit. `tag` came with the round trip of the COMMIT. */
  committed(writes: readonly Written[], tag: unknown): void;
  /** Reports a statement that the store does not know, or another impossible event. */
  broken(what: string): void;
}

export class Session {
  ended = false;
  /** Came with the round trip of the COMMIT. */
  tag: unknown;
  /** Called when the server ends the session. */
  onend: () => void = () => {};
  readonly #inbox: (Message | 'end')[] = [];
  #transaction: Transaction | undefined;
  #working = false;
  #idle: Event | undefined;
  readonly #context: SessionContext;

  constructor(context: SessionContext) {
    this.#context = context;
  }

  /** Takes statements, or the client's orderly end, which takes effect behind them. */
  receive(...messages: (Message | 'end')[]): void {
    if (this.ended) return;
    this.#inbox.push(...messages);
    if (!this.#working) void this.#work();
  }

  /** Ends the session at once, even during a statement. */
  kill(): void {
    if (this.ended) return;
    this.ended = true;
    this.#inbox.length = 0;
    if (this.#idle) this.#idle.run = undefined;
    if (this.#transaction) this.#context.store.abort(this.#transaction);
    this.#transaction = undefined;
    this.onend();
  }

  async #work(): Promise<void> {
    const { store, think, broken } = this.#context;
    this.#working = true;
    if (this.#idle) this.#idle.run = undefined;
    for (let next = this.#inbox.shift(); next; next = this.#inbox.shift()) {
      if (next === 'end') this.kill();
      if (next === 'end') return;
      await store.schedule.pause(think());
      if (this.ended) return;
      try {
        next.reply(await this.#perform(next));
      } catch (error) {
        if (!(error instanceof Error && error.name === 'PostgresError')) broken(String(error));
        next.reply({ error: error as Error });
      }
      if (this.ended) return;
    }
    this.#working = false;
    if (!this.#transaction) return;
    this.#idle = store.schedule.after(this.#context.idle_in_transaction_ms, () => {
      store.count('idle transaction ended by the server');
      this.kill();
    });
  }

  async #perform(message: Message): Promise<Reply> {
    const { text } = message.statement;
    if (text === 'commit') return this.#commit(message);
    if (text === 'rollback') return this.#rollback();
    const transaction = this.#transaction;
    if (transaction?.failed) throw serverError('25P02');
    if (message.fault) return this.#fail(message.fault, message);
    if (text.startsWith('begin isolation level ')) {
      this.#transaction ??= new Transaction(this.#context.store);
      return { rows: [], command: 'BEGIN' };
    }
    if (!transaction) return this.#alone(message);
    try {
      return { rows: await this.#run(transaction, message), command: '' };
    } catch (error) {
      transaction.failed = true;
      if (isMarker(text) && String(error).includes('exists')) {
        this.#context.store.count('late commit refused by its marker');
      }
      throw error;
    }
  }

  /** A statement outside a transaction is a transaction of its own. */
  async #alone(message: Message): Promise<Reply> {
    const transaction = new Transaction(this.#context.store);
    this.#transaction = transaction;
    try {
      const rows = await this.#run(transaction, message);
      if (this.ended) throw serverError('57P01');
      this.#context.committed(this.#context.store.commit(transaction), undefined);
      return { rows, command: '' };
    } finally {
      this.#context.store.abort(transaction);
      this.#transaction = undefined;
    }
  }

  #run(transaction: Transaction, { statement }: Message): Promise<Row[]> {
    const perform = performerOf(statement.text);
    if (!perform) throw new Error(`the model store does not know: ${statement.text}`);
    if (statement.text !== GATE) transaction.takeSnapshot();
    return perform(transaction, statement.args as string[], this.#context.store.schedule.now);
  }

  /** PostgreSQL answers COMMIT outside a transaction (with a warning), and ROLLBACK to a failed one. */
  #commit({ fault }: Message): Reply {
    const transaction = this.#transaction;
    const { store } = this.#context;
    this.#transaction = undefined;
    if (!transaction) return { rows: [], command: 'COMMIT' };
    if (transaction.failed || (fault && !fault.done)) {
      store.abort(transaction);
      if (!transaction.failed && fault) return this.#refuse(fault);
      return { rows: [], command: 'ROLLBACK' };
    }
    this.#context.committed(store.commit(transaction), this.tag);
    return fault ? this.#refuse(fault) : { rows: [], command: 'COMMIT' };
  }

  #rollback(): Reply {
    if (this.#transaction) this.#context.store.abort(this.#transaction);
    this.#transaction = undefined;
    return { rows: [], command: 'ROLLBACK' };
  }

  /** An injected error. A statement that is a transaction of its own may take effect nevertheless. */
  async #fail(fault: { code: string; done: boolean }, message: Message): Promise<Reply> {
    if (this.#transaction) this.#transaction.failed = true;
    else if (fault.done && performerOf(message.statement.text)) await this.#alone(message);
    return this.#refuse(fault);
  }

  #refuse({ code }: { code: string }): Reply {
    this.#context.store.count(`injected ${code}`);
    if (/^(08|57P)/.test(code)) this.#context.store.schedule.after(0, () => this.kill());
    return { error: serverError(code) };
  }
}
