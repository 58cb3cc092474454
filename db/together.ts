/**
 * Several commands as one, all or nothing: each decides on the rows as the earlier ones left them.
 */
import {
  type Changes,
  type Command,
  type CreditMovement,
  type Event,
  type Item,
  type Keys,
  keptMetadata,
  type Metadata,
  type Order,
  type OrderEvent,
  type Outcome,
  type Rows,
  type StockMovement,
  type User,
} from './command.ts';
import { eventsOf } from './events.ts';
import { mergeKeys } from './row-keys.ts';
import { stamp } from './stamp.ts';

/** Lines of orders that they read or write together: with more, a transaction takes too long. */
const LINES_TOGETHER_MAX = 10_000;
/** Rows that they may name, repetitions included: enough for as many lines, and their orders. */
export const ROWS_TOGETHER_MAX = 12_000;
/** Of the answers of a bulk. Those of `all` are shorter, since their lines are bounded. */
export const ANSWERS_TOGETHER_MAX_BYTES = 4 * 1024 * 1024;

/** The answers in the order of the commands, or the first refusal. */
export type Together = { answers: string[] } | (Refusal & { index: number });
type Refusal = Extract<Outcome, { refusal: unknown }>;

/** @param render the answer of the command with this index, from its body */
export const together = (
  commands: readonly Command[],
  render: (body: Record<string, unknown>, index: number) => string,
): Command<Together> => ({
  // Not merged: the engine counts them to estimate what the command keeps in memory.
  keys: {
    orders: commands.flatMap(({ keys }) => keys.orders ?? []),
    new_orders: commands.flatMap(({ keys }) => keys.new_orders ?? []),
    users: commands.flatMap(({ keys }) => keys.users ?? []),
    items: commands.flatMap(({ keys }) => keys.items ?? []),
  },
  decide(locked) {
    const rows = new Overlay(locked);
    const answers: string[] = [];
    for (const [index, command] of commands.entries()) {
      rows.beginCommand();
      const decision = command.decide(rows);
      if ('lock' in decision) {
        const lock = mergeKeys(decision.lock, lacking(commands.slice(index + 1), rows));
        return rows.has_too_many_lines ? tooMuch(index, TOO_MANY_LINES) : { lock };
      }
      const { outcome, changes } = decision;
      if ('refusal' in outcome) return { outcome: { ...outcome, index } };
      answers.push(render(outcome.body, index));
      if (changes) rows.apply(changes);
      if (rows.has_too_many_lines) return tooMuch(index, TOO_MANY_LINES);
    }
    const changes = rows.changes();
    return changes ? { outcome: { answers }, changes } : { outcome: { answers } };
  },
});

const TOO_MANY_LINES = `the calls use more than ${LINES_TOGETHER_MAX} lines of orders`;
const tooMuch = (index: number, detail: string) => ({
  outcome: { index, refusal: 'limit_exceeded', detail: `${detail}: send fewer calls` } as const,
});

/** All keys that further commands ask for: then one more round of locks is usually enough. */
function lacking(commands: readonly Command[], rows: Overlay): Keys {
  const asked: Keys[] = [];
  for (const command of commands) {
    if (rows.has_too_many_lines) break; // the whole will be refused
    rows.beginCommand();
    const decision = command.decide(rows);
    if ('lock' in decision) asked.push(decision.lock);
  }
  return mergeKeys(...asked);
}

/** The locked rows, with the changes of the commands so far. */
class Overlay implements Rows {
  readonly #orders = new Map<string, Order | undefined>();
  readonly #users = new Map<string, User>();
  readonly #items = new Map<string, Item>();
  readonly #credit_movements: CreditMovement[] = [];
  readonly #stock_movements: StockMovement[] = [];
  readonly #order_events: OrderEvent[] = [];
  readonly #events: Event[] = [];
  #metadata: Metadata[] = [];
  readonly #cleared: string[] = [];
  /** Of each order that this command has read or written, the most that it had. */
  readonly #lines = new Map<string, number>();
  #changed = false;
  #lines_in_all = 0;
  now_us: number;

  constructor(readonly locked: Rows) {
    this.now_us = locked.now_us;
  }

  order = (id: string): Order | undefined => {
    if (this.#orders.has(id)) return this.#orders.get(id);
    const order = this.locked.order(id);
    if (order) this.#count(order);
    return order;
  };
  isTaken = (id: string): boolean =>
    this.#orders.has(id) ? this.#orders.get(id) !== undefined : this.locked.isTaken(id);
  user = (id: string): User | undefined => this.#users.get(id) ?? this.locked.user(id);
  item = (id: string): Item | undefined => this.#items.get(id) ?? this.locked.item(id);

  /** Rows that these commands have made need no lock. */
  hasLocked = ({ orders = [], users = [], items = [] }: Keys): boolean =>
    this.locked.hasLocked({
      orders: orders.filter((id) => !this.#orders.has(id)),
      users: users.filter((id) => !this.#users.has(id)),
      items: items.filter((id) => !this.#items.has(id)),
    });

  get principal(): string | undefined {
    return this.locked.principal;
  }

  get fenced(): boolean {
    return this.locked.fenced;
  }

  apply(changes: Changes): void {
    this.#events.push(...eventsOf(this.#before, changes, this.now_us));
    for (const order of changes.orders ?? []) {
      this.#orders.set(order.id, order);
      this.#count(order);
    }
    for (const id of changes.removed_orders ?? []) this.#orders.set(id, undefined);
    for (const user of changes.users ?? []) this.#users.set(user.id, user);
    for (const item of changes.items ?? []) this.#items.set(item.id, item);
    const stamped = stamp(changes, this.now_us);
    this.#credit_movements.push(...stamped.credit_movements);
    this.#stock_movements.push(...stamped.stock_movements);
    this.#order_events.push(...stamped.order_events);
    const cleared = changes.cleared_metadata ?? [];
    this.#cleared.push(...cleared);
    this.#metadata = keptMetadata(this.#metadata, cleared).concat(changes.metadata ?? []);
    this.now_us = stamped.next_us;
    this.#changed = true;
  }

  /** The row of a new id is not locked. */
  readonly #before = {
    order: (id: string) => (this.hasLocked({ orders: [id] }) ? this.order(id) : undefined),
    user: (id: string) => (this.hasLocked({ users: [id] }) ? this.user(id) : undefined),
    item: (id: string) => (this.hasLocked({ items: [id] }) ? this.item(id) : undefined),
  };

  /** The lines of an order count again for each command that works on them. */
  beginCommand(): void {
    this.#lines.clear();
  }

  #count({ id, lines: { length } }: Order): void {
    const before = this.#lines.get(id) ?? 0;
    if (length <= before) return;
    this.#lines.set(id, length);
    this.#lines_in_all += length - before;
  }

  get has_too_many_lines(): boolean {
    return this.#lines_in_all > LINES_TOGETHER_MAX;
  }

  /** The changes of all commands; undefined if there are none. */
  changes(): Changes | undefined {
    if (!this.#changed) return undefined;
    const orders = [...this.#orders];
    return {
      orders: orders.flatMap(([, order]) => order ?? []),
      removed_orders: orders.flatMap(([id, order]) => (order ? [] : [id])),
      users: [...this.#users.values()],
      items: [...this.#items.values()],
      credit_movements: this.#credit_movements,
      stock_movements: this.#stock_movements,
      order_events: this.#order_events,
      metadata: this.#metadata,
      cleared_metadata: this.#cleared,
      events: this.#events,
      last_us: this.now_us,
    };
  }
}
