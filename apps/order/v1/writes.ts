/** The writes under /v1/orders, and the command that each becomes. */
import { newId } from '../../../db/new-id.ts';
import { orderCalls as calls } from '../../contract/v1/orders.ts';
import { refundCalls } from '../../contract/v1/refunds.ts';
import { type Write, write } from '../../http/writes.ts';
import { checkout, removeOrder } from '../commands.ts';
import { createOrder, setLines } from './commands.ts';
import { holdOrder, releaseOrder } from './holds.ts';
import { refund } from './refunds.ts';
import { orderOf } from './show.ts';

export const orderWrites: readonly Write[] = [
  write(calls.create, (_, { id, user_id, lines = [], checkout = false, hold_s, metadata }) => {
    const made = { id: id ?? newId(), chosen: id !== undefined };
    return createOrder({ ...made, user_id, lines, checkout, hold_s, metadata });
  }),
  write(calls.setLines, ({ order_id }, { lines }) => setLines(order_id, lines)),
  write(calls.hold, ({ order_id }, { ttl_s }) => holdOrder(order_id, ttl_s)),
  write(calls.release, ({ order_id }) => releaseOrder(order_id)),
  write(calls.checkout, ({ order_id }) => checkout(order_id, orderOf)),
  write(calls.remove, ({ order_id }) => removeOrder(order_id, (id) => ({ id }))),
  write(refundCalls.create, ({ order_id }, { restock = true, ...rest }) =>
    refund({ id: newId(), order_id, restock, ...rest }),
  ),
];
