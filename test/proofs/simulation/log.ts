/**
 * The log in a simulation: its positions, its events against the model, and readers that start, die
 * and resume anywhere.
 */
import type { Event } from '../../../db/command.ts';
import { behind, type Cursor, formatCursor, parseCursor } from '../../../db/reads/cursor.ts';
import { merge, nextBatches } from '../../../db/reads/log.ts';
import { emptyWorld, type World } from '../../support/model.ts';
import { replayEvent } from '../../support/replay.ts';
import { performerOf, type SimStatement, sqlTag } from './sql.ts';
import { type ModelStore, Transaction, type Writes } from './store.ts';

export class LogOracle {
  /** The events of all commits, in their order. */
  readonly #committed: string[] = [];
  readonly #last = new Map<number, number>();
  readonly #replayed = emptyWorld();
  /** Of each order that is paid: who has paid, if that is known. */
  readonly #payers = new Map<unknown, string>();
  readonly #readers: Reader[] = [];

  constructor(
    private readonly store: ModelStore,
    private readonly violated: (what: string) => void,
  ) {}

  committed(writes: Writes): void {
    if (writes.size === 0) return;
    const rows = [...writes].filter(([name]) => name.startsWith('batches/'));
    if (rows.length !== 1) this.violated(`a transaction has ${rows.length} places in the log`);
    for (const [, row] of rows) {
      const [stream, position] = [Number(row?.stream), Number(row?.position)];
      const next = (this.#last.get(stream) ?? 0) + 1;
      if (position !== next) this.violated(`position ${position} of ${stream}, not ${next}`);
      this.#last.set(stream, position);
      if (row?.id === '' && writes.size > 1) this.violated('a tombstone has effects');
      if (row?.id !== '' && !this.store.row(`streams/${stream}`)) {
        this.violated(`stream ${stream} has no row`);
      }
      const events = JSON.parse(String(row?.events ?? '[]')) as Event[];
      for (const [i, event] of events.entries()) {
        this.#committed.push(nameOf(stream, position, i));
        replayEvent(this.#replayed, event);
        this.#notePayer(event);
      }
    }
  }

  #notePayer({ type, order_id, principal }: Event): void {
    if (type === 'order.cancelled' || type === 'order.removed') this.#payers.delete(order_id);
    if (type !== 'order.paid' || principal === undefined) return;
    this.#payers.set(order_id, principal);
    this.store.count('an order that says who has paid');
  }

  /** Nobody can tell the world of the events from the world of the calls. */
  compare(world: World): void {
    const replayed = this.#replayed;
    const same = (what: string, found: unknown, expected: unknown) => {
      if (found !== expected) this.violated(`${what} is ${found} by the log, not ${expected}`);
    };
    same('the number of orders', replayed.orders.size, world.orders.size);
    for (const [id, credit] of world.users) same(`credit of ${id}`, replayed.users.get(id), credit);
    for (const [id, { stock, price }] of world.items) {
      same(`stock of ${id}`, replayed.items.get(id)?.stock, stock);
      same(`price of ${id}`, replayed.items.get(id)?.price, price);
    }
    for (const [id, { user, paid, payment, lines }] of world.orders) {
      const found = replayed.orders.get(id);
      same(`user of ${id}`, found?.user, user);
      same(`paid of ${id}`, found?.paid, paid);
      same(`payment of ${id}`, found?.payment, payment);
      const { paid_by = null } = this.store.row(`orders/${id}`) ?? {};
      same(`payer of ${id}`, paid_by, this.#payers.get(id) ?? null);
      same(`lines of ${id}`, textOf(found?.lines ?? new Map()), textOf(lines));
    }
  }

  /** One step of some reader, perhaps a new one. */
  async read(): Promise<void> {
    const { schedule } = this.store;
    if (this.#readers.length < 3 && schedule.chance(0.2))
      this.#readers.push(new Reader(this.store));
    if (this.#readers.length > 0) await schedule.pick(this.#readers).read();
  }

  /** Every reader has read every event once, and none else; an order's in the order of their times. */
  async close(): Promise<void> {
    this.#readers.push(new Reader(this.store));
    for (const reader of this.#readers) {
      while (await reader.read()) this.store.count('a portion of the log');
      const { names } = reader;
      const sorted = (list: readonly string[]) => JSON.stringify([...list].sort());
      if (sorted(names) !== sorted(this.#committed)) {
        this.violated(`a reader has read ${names.length} events, not ${this.#committed.length}`);
      }
      for (const what of reader.wrong) this.violated(what);
    }
  }
}

const nameOf = (stream: number, position: number, i: number): string =>
  `${stream}-${position}-${i}`;

const textOf = (lines: ReadonlyMap<string, object>): string =>
  JSON.stringify([...lines].sort(([a], [b]) => (a < b ? -1 : 1)));

/** Reads a portion at a time, of which it keeps some; then it may begin anew from its cursor. */
class Reader {
  readonly names: string[] = [];
  readonly wrong: string[] = [];
  /** The time of the last event of each row. */
  readonly #latest = new Map<string, number>();
  #cursor: Cursor = { given_s: 0, positions: new Map(), within: new Map() };

  constructor(private readonly store: ModelStore) {}

  /** @returns whether there was anything to read */
  async read(): Promise<boolean> {
    const { schedule } = this.store;
    const batches_max = 1 + schedule.below(4);
    const { text, args } = nextBatches(sql, this.#cursor, batches_max) as unknown as SimStatement;
    const transaction = new Transaction(this.store);
    transaction.takeSnapshot();
    const rows = (await performerOf(text)?.(transaction, args as string[], 0)) ?? [];
    const { batches } = merge(this.#cursor, rows, 72, batches_max);
    for (const { stream, position, events } of batches) {
      for (const [i, event] of events.entries()) this.#take(nameOf(stream, position, i), event);
      this.#cursor = behind(this.#cursor, stream, position);
      if (!schedule.chance(0.3)) continue;
      const resumed = parseCursor(formatCursor(this.#cursor)); // it died, and another goes on
      if (resumed) this.#cursor = resumed;
      break;
    }
    return batches.length > 0;
  }

  #take(name: string, event: Event): void {
    this.names.push(name);
    const row = String(event.order_id ?? event.item_id ?? event.user_id);
    const latest = this.#latest.get(row) ?? 0;
    if (event.at < latest) this.wrong.push(`event ${name} of ${row} is older than one before it`);
    this.#latest.set(row, event.at);
  }
}

const sql = sqlTag(() => Promise.reject(new Error('sent'))) as unknown as Parameters<
  typeof nextBatches
>[0];
