/** Maps a call of the model to the command that the service submits for it. */
import * as orders from '../../apps/order/commands.ts';
import { createOrder, type Wanted } from '../../apps/order/v1/commands.ts';
import { holdOrder, releaseOrder } from '../../apps/order/v1/holds.ts';
import { refund } from '../../apps/order/v1/refunds.ts';
import * as payment from '../../apps/payment/commands.ts';
import * as stock from '../../apps/stock/commands.ts';
import type { Command } from '../../db/command.ts';
import { type Together, together } from '../../db/together.ts';
import type { Call, Purchase } from './model.ts';

const commands: { [Name in Call['call']]: (call: Call & { call: Name }) => Command } = {
  addFunds: ({ user, amount }) => payment.addFunds(user, amount),
  pay: ({ user, amount }) => payment.pay(user, amount),
  payOrder: ({ user, order, amount }) => payment.payOrder(user, order, amount),
  cancel: ({ user, order, amount }) => payment.cancelPayment(user, order, amount),
  addStock: ({ item, amount }) => stock.addStock(item, amount),
  subtractStock: ({ item, amount }) => stock.subtractStock(item, amount),
  createOrder: ({ order, user }) => orders.createOrder(order, user),
  addItem: ({ order, item, amount }) => orders.addItem(order, item, amount),
  removeItem: ({ order, item }) => orders.removeItem(order, item),
  removeOrder: ({ order }) => orders.removeOrder(order),
  hold: ({ order, ttl_s }) => holdOrder(order, ttl_s),
  release: ({ order }) => releaseOrder(order),
  checkout: ({ order }) => orders.checkout(order),
  refund: ({ order, item, amount, restock }) =>
    refundOf(order, restock, [{ item_id: item, quantity: amount }]),
  refundAll: ({ order, restock }) => refundOf(order, restock),
};

const refundOf = (order_id: string, restock: boolean, lines?: Wanted[]): Command =>
  refund({ id: `refund-of-${order_id}`, order_id, restock, lines });

export function commandFor(call: Call | Purchase): Command {
  if (call.call === 'purchase') return commandForPurchase(call);
  const make: (call: never) => Command = commands[call.call];
  return make(call as never);
}

const commandForPurchase = ({ user, order, lines, hold_s }: Purchase): Command =>
  createOrder({
    id: order,
    chosen: false,
    user_id: user,
    lines: lines.map(([item_id, quantity]) => ({ item_id, quantity })),
    checkout: hold_s === undefined,
    hold_s,
  });

/**
 * The command for all of these calls, or none of them.
 * @param times_us receives the time of each decision
 */
export const commandForAll = (
  calls: readonly (Call | Purchase)[],
  times_us: number[] = [],
): Command<Together> => {
  const commands = calls.map((call, i): Command => {
    const command = commandFor(call);
    return {
      ...command,
      decide(rows) {
        times_us[i] = rows.now_us;
        return command.decide(rows);
      },
    };
  });
  return together(commands, (body) => JSON.stringify(body));
};
