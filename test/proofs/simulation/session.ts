/** The server's side of one connection: statements in order, one transaction, limits, faults. */
import type { Fault, Faults } from './faults.ts';
import type { Decided, Oracle } from './oracle.ts';
import { GATE, performerOf, type SimStatement } from './sql.ts';
import { type ModelStore, type Row, serverError, Transaction } from './store.ts';

export type Reply = { rows: Row[]; command: string } | { error: Error };

/** A statement on its way to the server. */
export interface Message {
  statement: SimStatement;
  fault: Fault | undefined;
  reply(reply: Reply): void;
}

/** What the parts of a simulation share. */
export interface Scene {
  store: ModelStore;
  oracle: Oracle;
  faults: Faults;
  /** Writes changed rows as on CockroachDB. */
  upserts: boolean;
  idle_in_transaction_ms: number;
  trace(text: () => string): void;
}

export class Session {
  ended = false;
  /** The decisions that came with the round trip of the COMMIT. */
  decided: readonly Decided[] = [];
  readonly #inbox: (Message | 'end')[] = [];
  #transaction: Transaction | undefined;
  #working = false;
  #stopTimer = () => {};

  /** @param onend called when the server ends the session */
  constructor(
    private readonly context: Scene,
    private readonly onend: () => void,
  ) {}

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
    this.#stopTimer();
    this.#abort();
    this.onend();
  }

  async #work(): Promise<void> {
    const { store, oracle, faults, idle_in_transaction_ms } = this.context;
    const { schedule } = store;
    this.#working = true;
    this.#stopTimer();
    for (let next = this.#inbox.shift(); next; next = this.#inbox.shift()) {
      if (next === 'end') this.kill();
      if (next === 'end') return;
      await schedule.pause(schedule.random() * 0.2 * faults.latency_ms);
      if (this.ended) return;
      try {
        next.reply(await this.#perform(next));
      } catch (error) {
        const is_server = error instanceof Error && error.name === 'PostgresError';
        if (!is_server) oracle.violated(String(error));
        next.reply({ error: error as Error });
      }
      if (this.ended) return;
    }
    this.#working = false;
    if (!this.#transaction) return;
    this.#stopTimer = schedule.after(idle_in_transaction_ms, () => {
      store.count('idle transaction ended by the server');
      this.kill();
    });
  }

  async #perform(message: Message): Promise<Reply> {
    const { text } = message.statement;
    if (text === 'commit') return this.#commit(message);
    if (text === 'rollback') return this.#abort();
    const transaction = this.#transaction;
    if (transaction?.failed) throw serverError('25P02');
    if (message.fault) return this.#fail(message.fault, message);
    if (text.startsWith('begin isolation level ')) {
      this.#transaction ??= new Transaction(this.context.store);
      return { rows: [], command: 'BEGIN' };
    }
    if (!transaction) return this.#alone(message);
    try {
      return { rows: await this.#run(transaction, message), command: '' };
    } catch (error) {
      transaction.failed = true;
      if (/batches\/.* exists/.test(String(error))) {
        this.context.store.count('late commit refused by the log');
      }
      throw error;
    }
  }

  /** A statement outside a transaction is a transaction of its own. */
  async #alone(message: Message): Promise<Reply> {
    const transaction = new Transaction(this.context.store);
    this.#transaction = transaction;
    try {
      const rows = await this.#run(transaction, message);
      if (this.ended) throw serverError('57P01');
      this.#publish(transaction, []);
      return { rows, command: '' };
    } finally {
      this.#abort();
    }
  }

  async #run(transaction: Transaction, { statement }: Message): Promise<Row[]> {
    const perform = performerOf(statement.text);
    if (!perform) throw new Error(`the model store does not know: ${statement.text}`);
    if (statement.text !== GATE) transaction.takeSnapshot();
    const { now } = this.context.store.schedule;
    return (await perform(transaction, statement.args as string[], now)) ?? [];
  }

  /**
   * PostgreSQL answers COMMIT outside a transaction (with a warning), and ROLLBACK to a failed one.
   */
  #commit({ fault }: Message): Reply {
    const transaction = this.#transaction;
    if (transaction?.failed) return this.#abort();
    if (transaction && fault && !fault.done) {
      this.#abort();
      return this.#refuse(fault);
    }
    this.#transaction = undefined;
    if (!transaction) return { rows: [], command: 'COMMIT' };
    this.#publish(transaction, this.decided);
    return fault ? this.#refuse(fault) : { rows: [], command: 'COMMIT' };
  }

  #publish(transaction: Transaction, decided: readonly Decided[]): void {
    const { store, oracle, trace } = this.context;
    const writes = store.commit(transaction);
    trace(() => `committed ${decided.map(({ id }) => id)}`);
    oracle.committed(writes, decided);
  }

  #abort(): Reply {
    if (this.#transaction) this.context.store.abort(this.#transaction);
    this.#transaction = undefined;
    return { rows: [], command: 'ROLLBACK' };
  }

  /**
   * An injected error. A statement that is a transaction of its own may take effect nevertheless.
   */
  async #fail(fault: Fault, message: Message): Promise<Reply> {
    if (this.#transaction) this.#transaction.failed = true;
    else if (fault.done && performerOf(message.statement.text)) await this.#alone(message);
    return this.#refuse(fault);
  }

  #refuse({ code }: Fault): Reply {
    this.context.store.count(`injected ${code}`);
    if (/^(08|57P)/.test(code)) this.context.store.schedule.after(0, () => this.kill());
    return { error: serverError(code) };
  }
}
