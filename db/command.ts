/**
 * The contract of the write path: a command names rows, reads them locked, and decides on changes.
 */
import type { Refusal } from './failure.ts';
import type {
  credit_movements,
  items,
  order_events,
  order_lines,
  orders,
  stock_movements,
  users,
} from './schema.ts';
import type { Service } from './service.ts';
import type { Trace } from './trace.ts';

/** The engine records when rows change, so decisions need not. */
export type User = Omit<typeof users.$inferSelect, 'changed_at'>;
export type Item = Omit<typeof items.$inferSelect, 'changed_at'>;
export type Line = Omit<typeof order_lines.$inferSelect, 'order_id'>;
/** An order is read, locked and written together with its lines. */
export type Order = Omit<typeof orders.$inferSelect, 'changed_at'> & { lines: readonly Line[] };
/** `at` is the time of the decision, unless the movement records an earlier change. */
export type CreditMovement = Omit<typeof credit_movements.$inferSelect, Stamped> & Recorded;
export type StockMovement = Omit<typeof stock_movements.$inferSelect, Stamped> & Recorded;
/** Something that has happened to an order. The engine adds the time, unless it is given. */
export type OrderEvent = Pick<typeof order_events.$inferSelect, 'order_id' | 'type'> & {
  data: Record<string, unknown>;
  at?: number;
};
/**
 * An event has the ids that it concerns (`order_id`, `user_id`, `item_id`, or `lines` with items),
 * `at` in microseconds since 1970, and amounts in the units of the rows. All of what a change of an
 * order does to credit and stock is in the order's event.
 */
export interface Event {
  type: EventType;
  at: number;
  /** Of the call. The engine adds it. */
  request_id?: string;
  /** Who made the call, where authentication is on. */
  principal?: string;
  /** Of the call, if it is traced: W3C's header. */
  traceparent?: string;
  [datum: string]: unknown;
}

type EventType =
  | `order.${'created' | 'changed' | 'held' | 'released' | 'paid' | 'cancelled' | 'refunded'}`
  | `order.${'payment_made' | 'payment_cancelled' | 'removed'}`
  | `user.created`
  | `credit.changed`
  | `item.${'created' | 'price_changed'}`
  | `stock.changed`;
/** Data of a caller, stored with a row: the text of a JSON object. */
export interface Metadata {
  of: 'user' | 'item' | 'order';
  id: string;
  data: string;
}
type Stamped = 'id' | 'created_at' | 'at' | 'principal';
type Time = number | null;
/** The engine adds who made the call, unless it records an earlier one, perhaps of nobody known. */
type Recorded = { at?: Time; principal?: string | null };

export interface Command<A = Outcome> {
  keys: Keys;
  /**
   * The id of an order whose user and items the command needs too: the engine prefetches their ids.
   */
  prefetch?: string;
  /** The name of who asks for it, for its events. Batches take from them in turn. */
  principal?: string | undefined;
  /** Its caller is kept to this user: orders of others are missing to it, and cost as little. */
  only_user?: string | undefined;
  /** The request that asks for it, for its events. */
  request_id?: string;
  /** Of that request, if it is traced. */
  trace?: Trace | undefined;
  /** Pure: a retry calls it again, possibly on other rows. */
  decide(rows: Rows): Decision<A>;
}

/** Ids of rows to lock. The engine sorts them and removes duplicates. */
export interface Keys {
  orders?: readonly string[];
  /** Ids that callers have chosen for new orders: `isTaken` needs no lines, whoever's they are. */
  new_orders?: readonly string[];
  users?: readonly string[];
  items?: readonly string[];
}

/** The locked rows, with the effects of the commands that precede this one in the batch. */
export interface Rows {
  /** The row, or undefined if it does not exist. Asking for a row that is not locked is a bug. */
  order(id: string): Order | undefined;
  user(id: string): User | undefined;
  item(id: string): Item | undefined;
  /** Whether there is an order of this id, whoever's it is. */
  isTaken(id: string): boolean;
  /** True if all of these are locked. */
  hasLocked(keys: Keys): boolean;
  /**
   * The time of this decision in microseconds since 1970, from the store. It is later than every
   * change of the locked rows, and than that of each decision before.
   */
  readonly now_us: number;
  /** Who asks for this decision, where that is known. */
  readonly principal: string | undefined;
  /** Services of versions without holds and refunds can no longer write: see session.ts. */
  readonly fenced: boolean;
}

/** New values of whole rows, and movements to append. The engine writes nothing else. */
export interface Changes {
  orders?: readonly Order[];
  removed_orders?: readonly string[];
  users?: readonly User[];
  items?: readonly Item[];
  credit_movements?: readonly CreditMovement[];
  stock_movements?: readonly StockMovement[];
  order_events?: readonly OrderEvent[];
  metadata?: readonly Metadata[];
  /** Orders whose metadata are deleted, before those of the same decision are written. */
  cleared_metadata?: readonly string[];
  /** What several decisions have done, if they made these changes; else it is told from the rows. */
  events?: readonly Event[];
  /** The latest time in these changes, if several decisions made them: see together.ts. */
  last_us?: number;
}

/** What a rule decided: the body of a 200, or a refusal with a detail for people. */
export type Outcome =
  | { body: Record<string, unknown> }
  /** `facts` are for programs: which items are short, say. The path API leaves them out. */
  | { refusal: Refusal; detail: string; facts?: Record<string, unknown> };

/** An outcome with its changes (a refusal has none), or the keys of further rows to lock. */
export type Decision<A = Outcome> = { outcome: A; changes?: Changes } | { lock: Keys };

/** A rendered outcome: what the client receives, and what is recorded for its idempotency key. */
export interface Answer {
  status: number;
  body: string;
}

/** A call with an idempotency key. Its answer is recorded and returned to every repeat. */
export interface Operation {
  /** Keys are scoped to a service. */
  service: Service;
  /** The client's idempotency key, 1-255 printable characters, and whose it is if that is known. */
  key: string;
  /**
   * The same key without its owner. What was recorded under it while nobody was known is neither
   * repeated, since it may be another caller's, nor done again.
   */
  unowned_key?: string;
  /**
   * Method, path and, on /v1, a digest of the body. A key that is reused for another is refused.
   */
  fingerprint: string;
}

/** What a command resolves to once its transaction has committed. */
export interface Submitted {
  answer: Answer;
  /** The answer was recorded by an earlier call with the same key. */
  replayed: boolean;
  /** The number of commands in its transaction. */
  batch: number;
  /** The attempt of its transaction that committed, from 1. */
  attempt: number;
}

/** An order without lines. */
export const emptyOrder = (id: string, user_id: string, now_us: number): Order => ({
  id,
  user_id,
  paid: false,
  total_cost: 0,
  payment: null,
  paid_at: null,
  held_until: null,
  refunded: null,
  created_at: now_us,
  paid_by: null,
  lines: [],
});

/** The rows that an order refers to, itself included. */
export const keysOf = (order: Order): Keys => ({
  orders: [order.id],
  users: [order.user_id],
  items: order.lines.map((line) => line.item_id),
});

/** By its lines, since the refunds of a free order have no amount. */
export const hasRefunds = (order: Order): boolean =>
  order.lines.some((line) => line.refunded !== null);

export const refuse = (
  refusal: Refusal,
  detail: string,
  facts?: Record<string, unknown>,
): Decision => ({ outcome: { refusal, detail, ...(facts && { facts }) } });

export const accept = (body: Record<string, unknown>, changes?: Changes): Decision =>
  changes ? { outcome: { body }, changes } : { outcome: { body } };

/** Adds changes to what was accepted; a refusal stays as it is. */
export const withChanges = (decision: Decision, more: Changes): Decision =>
  'changes' in decision ? { ...decision, changes: { ...decision.changes, ...more } } : decision;

/** The change that stores the metadata of a new row, if it has any. */
export const keep = (
  of: Metadata['of'],
  id: string,
  metadata: Record<string, string> | undefined,
): Changes => (metadata ? { metadata: [{ of, id, data: JSON.stringify(metadata) }] } : {});

/** A time in microseconds since 1970 as RFC 3339, in UTC. */
export function timeOf(us: number): string {
  const second = Math.floor(us / 1_000_000);
  if (second !== formatted.second) {
    formatted = { second, text: new Date(second * 1000).toISOString().slice(0, -4) };
  }
  return `${formatted.text}${String(us % 1_000_000).padStart(6, '0')}Z`;
}

/** The last second, up to its point: most times of a moment share it. */
let formatted = { second: -1, text: '' };

/** The metadata that are still to be written after these orders were cleared. */
export const keptMetadata = (metadata: Metadata[], cleared: readonly string[]): Metadata[] =>
  cleared.length === 0
    ? metadata
    : metadata.filter(({ of, id }) => of !== 'order' || !cleared.includes(id));

/** The upper bound of every balance, stock, quantity and total: 2^53 - 1. */
const AMOUNT_MAX = Number.MAX_SAFE_INTEGER;

/**
 * Correct even for inexact results: a sum or product above the limit never rounds to it or below.
 */
export const passesLimit = (amount: number): boolean => amount > AMOUNT_MAX;
