/** The commands of /v1/items: prices and stock. */
import { accept, type Command, type Item, keep, passesLimit, refuse } from '../../../db/command.ts';
import { availableOf, heldOf, namedWithHeld } from '../../../db/holds.ts';

export interface NewItem {
  id: string;
  /** The caller has chosen the id, so it may be taken. */
  chosen: boolean;
  price: number;
  stock: number;
  metadata?: Record<string, string> | undefined;
}

export const createItem = ({ id: item_id, chosen, metadata, price, stock }: NewItem): Command => ({
  keys: { items: chosen ? [item_id] : [] },
  decide(rows) {
    if (chosen && rows.item(item_id)) return refuse('already_exists', `item ${item_id} exists`);
    const opening = { item_id, amount: stock, reason: 'opening', order_id: null };
    const item = { id: item_id, price, stock, holds: null };
    return accept(itemOf(item, rows.now_us, metadata), {
      items: [item],
      stock_movements: stock > 0 ? [opening] : [],
      ...keep('item', item_id, metadata),
    });
  },
});

export const changePrice = (item_id: string, price: number): Command => ({
  keys: { items: [item_id] },
  decide(rows) {
    const item = rows.item(item_id);
    if (!item) return refuse('item_not_found', `no item ${item_id}`);
    const changed = { ...item, price };
    return accept(itemOf(changed, rows.now_us), { items: [changed] });
  },
});

export interface StockChange {
  delta: number;
  /** The change takes place only if the stock is exactly this. */
  expected_stock?: number | undefined;
  reason?: string | undefined;
}

export const changeStock = (item_id: string, change: StockChange): Command => ({
  keys: { items: [item_id] },
  decide(rows) {
    const { delta, expected_stock, reason = delta > 0 ? 'add' : 'subtract' } = change;
    const item = rows.item(item_id);
    if (!item) return refuse('item_not_found', `no item ${item_id}`);
    if (expected_stock !== undefined && expected_stock !== item.stock) {
      const detail = `item ${item_id} has a stock of ${item.stock}, not ${expected_stock}`;
      return refuse('stock_changed', detail, { stock: item.stock });
    }
    const stock = item.stock + delta;
    if (delta < 0 && stock < heldOf(item, rows.now_us)) {
      const available = availableOf(item, rows.now_us);
      const detail = `not enough of ${namedWithHeld(item_id, item.stock - available)}`;
      return refuse('out_of_stock', detail, { items: [{ item_id, wanted: -delta, available }] });
    }
    if (passesLimit(stock)) {
      return refuse('limit_exceeded', `item ${item_id} would exceed the largest amount`);
    }
    const changed = { ...item, stock };
    return accept(itemOf(changed, rows.now_us), {
      items: [changed],
      stock_movements: [{ item_id, amount: delta, reason, order_id: null }],
    });
  },
});

/** An item as /v1 shows it. */
export function itemOf(item: Item, now_us: number, metadata?: Record<string, string>) {
  const { id, price, stock } = item;
  const held = heldOf(item, now_us);
  return { id, price, stock, held, available: stock - held, ...(metadata && { metadata }) };
}
