/** The moments of movements and events, each of which has its own, and who has made them. */
import type { Changes, CreditMovement, OrderEvent, StockMovement } from './command.ts';

export interface Stamped {
  credit_movements: CreditMovement[];
  stock_movements: StockMovement[];
  order_events: (OrderEvent & { at: number })[];
  /** The time of the next decision. */
  next_us: number;
  is_empty: boolean;
}

/**
 * One user or item may have several movements in one decision. Two moments stay free for the next
 * decision itself, and for what it tells of as having been just before.
 * @param now_us the time of the decision
 * @param principal who asked for it, if that is known
 */
export function stamp(changes: Changes, now_us: number, principal?: string): Stamped {
  if (isEmpty(changes)) return { ...NOTHING, next_us: Math.max(now_us, changes.last_us ?? 0) + 2 };
  let last_us = now_us;
  const by = principal === undefined ? {} : { principal };
  const dated = <T extends { at?: number | null }>(one: T): T => ({
    ...by, // a movement of an earlier change says whose that was
    ...one,
    at: one.at === undefined ? ++last_us : one.at,
  });
  const credit_movements = (changes.credit_movements ?? []).map(dated);
  const stock_movements = (changes.stock_movements ?? []).map(dated);
  const order_events = (changes.order_events ?? []).map((event) => ({
    ...event,
    data: { ...event.data, ...by },
    at: event.at ?? ++last_us,
  }));
  const next_us = Math.max(last_us, changes.last_us ?? 0) + 2;
  return { credit_movements, stock_movements, order_events, next_us, is_empty: false };
}

/** The usual checkout has none: it is told by its order alone. */
const isEmpty = ({ credit_movements, stock_movements, order_events }: Changes): boolean =>
  !credit_movements?.length && !stock_movements?.length && !order_events?.length;

const NOTHING = { credit_movements: [], stock_movements: [], order_events: [], is_empty: true };
