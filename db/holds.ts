/**
 * Holds: stock that is kept for an order until a stated second, and is then free by itself. An
 * item's row has the held quantity for each such second (`items.holds`), and a decision counts what
 * has expired as free, so nothing has to clean up in time. Time never goes back for an item, since
 * decisions are later than the last change of each row that they lock.
 */
import type { Item, Order } from './command.ts';
import { assert } from './failure.ts';

/**
 * The second at which a hold that begins now expires: after at least `ttl_s`, rounded up to a
 * multiple of at most an eighth of it, so that all holds of an item share a few hundred seconds.
 */
export function expiryOf(ttl_s: number, now_us: number): number {
  const grain_s = 2 ** Math.max(0, Math.floor(Math.log2(ttl_s / 8)));
  return Math.ceil((now_us / 1e6 + ttl_s) / grain_s) * grain_s;
}

const isOver = (until_s: number, now_us: number): boolean => until_s * 1e6 <= now_us;

/** Whether the order holds its lines now. Its row may still have a hold that has expired. */
export const isHeld = ({ held_until }: Pick<Order, 'held_until'>, now_us: number): boolean =>
  held_until !== null && !isOver(held_until, now_us);

/** The columns that decide the state of an order. */
export type Stateful = Pick<Order, 'paid' | 'total_cost' | 'refunded' | 'held_until'>;

/** @param now_us the store's time in microseconds since 1970 */
export function stateOf(order: Stateful, now_us: number): 'open' | 'held' | 'paid' | 'refunded' {
  const { paid, total_cost, refunded } = order;
  if (paid) return refunded !== null && refunded === total_cost ? 'refunded' : 'paid';
  return isHeld(order, now_us) ? 'held' : 'open';
}

/** The quantity of the item that orders hold now. */
export function heldOf({ holds }: Pick<Item, 'holds'>, now_us: number): number {
  let held = 0;
  for (const [until_s, quantity] of read(holds)) if (!isOver(until_s, now_us)) held += quantity;
  return held;
}

/** What others may still take. */
export const availableOf = (item: Item, now_us: number): number =>
  item.stock - heldOf(item, now_us);

/** An item that is short, in the detail of a refusal. */
export const namedWithHeld = (item_id: string, held: number): string =>
  held > 0 ? `${item_id} (${held} held)` : item_id;

/**
 * The item with one more hold, and without all that have expired; undefined if too little of it is
 * available.
 */
export function hold(
  item: Item,
  until_s: number,
  quantity: number,
  now_us: number,
): Item | undefined {
  const holds = live(item, now_us);
  let available = item.stock;
  for (const held of holds.values()) available -= held;
  if (available < quantity) return undefined;
  holds.set(until_s, (holds.get(until_s) ?? 0) + quantity);
  return { ...item, holds: write(holds) };
}

/** The item without that hold, and without all that have expired. */
export function release(item: Item, until_s: number, quantity: number, now_us: number): Item {
  const holds = live(item, now_us);
  if (!isOver(until_s, now_us)) {
    const left = (holds.get(until_s) ?? 0) - quantity;
    assert(left >= 0, 'the item has the hold', item.id);
    if (left > 0) holds.set(until_s, left);
    else holds.delete(until_s);
  }
  return { ...item, holds: write(holds) };
}

/** By the second at which they expire. */
type Holds = Map<number, number>;

function live({ holds }: Item, now_us: number): Holds {
  return new Map(read(holds).filter(([until_s]) => !isOver(until_s, now_us)));
}

const read = (holds: string | null): [until_s: number, quantity: number][] =>
  holds === null ? [] : JSON.parse(holds);

const write = (holds: Holds): string | null =>
  holds.size === 0 ? null : JSON.stringify([...holds]);
