/** The writes under /v1/items, and the command that each becomes. */
import { newId } from '../../../db/new-id.ts';
import { itemCalls as calls } from '../../contract/v1/items.ts';
import { type Write, write } from '../../http/writes.ts';
import { changePrice, changeStock, createItem } from './commands.ts';

export const itemWrites: readonly Write[] = [
  write(calls.create, (_, { id, stock = 0, ...rest }) =>
    createItem({ id: id ?? newId(), chosen: id !== undefined, stock, ...rest }),
  ),
  write(calls.changePrice, ({ item_id }, { price }) => changePrice(item_id, price)),
  write(calls.changeStock, ({ item_id }, change) => changeStock(item_id, change)),
];
