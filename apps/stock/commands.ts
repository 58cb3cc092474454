/** The commands of the stock service: items, their price and stock. */
import { accept, type Command, passesLimit, refuse } from '../../db/command.ts';
import { heldOf } from '../../db/holds.ts';

export const createItem = (item_id: string, price: number): Command => ({
  keys: {},
  decide: () => accept({ item_id }, { items: [{ id: item_id, price, stock: 0, holds: null }] }),
});

export const addStock = (item_id: string, amount: number): Command =>
  moveStock(item_id, amount, 'add');

export const subtractStock = (item_id: string, amount: number): Command =>
  moveStock(item_id, -amount, 'subtract');

const moveStock = (item_id: string, amount: number, reason: 'add' | 'subtract'): Command => ({
  keys: { items: [item_id] },
  decide(rows) {
    const item = rows.item(item_id);
    if (!item) return refuse('item_not_found', `no item ${item_id}`);
    const stock = item.stock + amount;
    if (amount < 0 && stock < heldOf(item, rows.now_us)) {
      return refuse('out_of_stock', `not enough of ${item_id}`);
    }
    if (passesLimit(stock)) {
      return refuse('limit_exceeded', `item ${item_id} would pass the largest amount`);
    }
    return accept(
      { item_id, stock },
      {
        items: [{ ...item, stock }],
        stock_movements: [{ item_id, amount, reason, order_id: null }],
      },
    );
  },
});

/** Creates items with this stock and price, or sets them. A movement records the difference. */
export const initItems = (
  item_ids: readonly string[],
  stock: number,
  price: number,
  msg: string,
): Command => ({
  keys: { items: item_ids },
  decide(rows) {
    const holdsOf = (id: string) => rows.item(id)?.holds ?? null;
    const short = item_ids.find((id) => heldOf({ holds: holdsOf(id) }, rows.now_us) > stock);
    if (short !== undefined) return refuse('out_of_stock', `orders hold more of ${short}`);
    return accept(
      { msg },
      {
        items: item_ids.map((id) => ({ id, price, stock, holds: holdsOf(id) })),
        stock_movements: item_ids
          .map((item_id) => ({
            item_id,
            amount: stock - (rows.item(item_id)?.stock ?? 0),
            reason: 'batch_init',
            order_id: null,
          }))
          .filter((movement) => movement.amount !== 0),
      },
    );
  },
});
