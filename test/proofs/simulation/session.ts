/** The server's side of one connection: statements in order, one transaction, limits, bad luck. */
import { GATE, isMarker, performerOf, type SimStatement } from './sql.ts';
import { type ModelStore, type Row, serverError, Transaction, type Written } from './store.ts';
import type { Event } from './time.ts';

export type Reply = { rows: Row[]; command: string } | { error: Error };

/** A statement on its way, with what the seed has in store for it. */
export interface Message {
  statement: SimStatement;
  fault?: { code: string; done: boolean } | undefined;
  reply(reply: Reply): void;
}

export interface SessionGround {
  store: ModelStore;
  idle_in_transaction_ms: number;
  /** How long the server thinks about one statement. */
  think(): number;
  /** A transaction has committed: the judge may look at it. `tag` came with its flight. */
  committed(writes: readonly Written[], tag: unknown): void;
  /** A statement that the store does not know, or whatever else can't be. */
  broken(what: string): void;
}

export class Session {
  ended = false;
  /** What came with the flight that carries the COMMIT. */
  tag: unknown;
  /** Told when the server ends the session. */
  onend: () => void = () => {};
  readonly #inbox: (Message | 'end')[] = [];
  #transaction: Transaction | undefined;
  #working = false;
  #idle: Event | undefined;
  readonly #ground: SessionGround;

  constructor(ground: SessionGround) {
    this.#ground = ground;
  }

  /** Statements, or the client's good-bye, which is noticed when all before it is done. */
  receive(...messages: (Message | 'end')[]): void {
    if (this.ended) return;
    this.#inbox.push(...messages);
    if (!this.#working) void this.#work();
  }

  /** At once, in the middle of whatever it does. */
  kill(): void {
    if (this.ended) return;
    this.ended = true;
    this.#inbox.length = 0;
    if (this.#idle) this.#idle.run = undefined;
    if (this.#transaction) this.#ground.store.abort(this.#transaction);
    this.#transaction = undefined;
    this.onend();
  }

  async #work(): Promise<void> {
    const { store, think, broken } = this.#ground;
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
    this.#idle = store.schedule.after(this.#ground.idle_in_transaction_ms, () => {
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
      this.#transaction ??= new Transaction(this.#ground.store);
      return { rows: [], command: 'BEGIN' };
    }
    if (!transaction) return this.#alone(message);
    try {
      return { rows: await this.#run(transaction, message), command: '' };
    } catch (error) {
      transaction.failed = true;
      if (isMarker(text) && String(error).includes('exists')) {
        this.#ground.store.count('late commit refused by its marker');
      }
      throw error;
    }
  }

  /** A statement outside a transaction is one. */
  async #alone(message: Message): Promise<Reply> {
    const transaction = new Transaction(this.#ground.store);
    this.#transaction = transaction;
    try {
      const rows = await this.#run(transaction, message);
      if (this.ended) throw serverError('57P01');
      this.#ground.committed(this.#ground.store.commit(transaction), undefined);
      return { rows, command: '' };
    } finally {
      this.#ground.store.abort(transaction);
      this.#transaction = undefined;
    }
  }

  #run(transaction: Transaction, { statement }: Message): Promise<Row[]> {
    const perform = performerOf(statement.text);
    if (!perform) throw new Error(`the model store does not know: ${statement.text}`);
    if (statement.text !== GATE) transaction.takeSnapshot();
    return perform(transaction, statement.args as string[], this.#ground.store.schedule.now);
  }

  /** PostgreSQL answers COMMIT outside a transaction, with a warning, and ROLLBACK to a failed one. */
  #commit({ fault }: Message): Reply {
    const transaction = this.#transaction;
    const { store } = this.#ground;
    this.#transaction = undefined;
    if (!transaction) return { rows: [], command: 'COMMIT' };
    if (transaction.failed || (fault && !fault.done)) {
      store.abort(transaction);
      if (!transaction.failed && fault) return this.#refuse(fault);
      return { rows: [], command: 'ROLLBACK' };
    }
    this.#ground.committed(store.commit(transaction), this.tag);
    return fault ? this.#refuse(fault) : { rows: [], command: 'COMMIT' };
  }

  #rollback(): Reply {
    if (this.#transaction) this.#ground.store.abort(this.#transaction);
    this.#transaction = undefined;
    return { rows: [], command: 'ROLLBACK' };
  }

  /** An error out of the blue. A statement that is a transaction of its own may be done all the same. */
  async #fail(fault: { code: string; done: boolean }, message: Message): Promise<Reply> {
    if (this.#transaction) this.#transaction.failed = true;
    else if (fault.done && performerOf(message.statement.text)) await this.#alone(message);
    return this.#refuse(fault);
  }

  #refuse({ code }: { code: string }): Reply {
    this.#ground.store.count(`injected ${code}`);
    if (/^(08|57P)/.test(code)) this.#ground.store.schedule.after(0, () => this.kill());
    return { error: serverError(code) };
  }
}
