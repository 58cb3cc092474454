/** Maps a call of the model to the command that the service submits for it. */
import {
  addItem,
  checkout,
  createOrder,
  removeItem,
  removeOrder,
} from '../../apps/order/commands.ts';
import { addFunds, cancelPayment, pay, payOrder } from '../../apps/payment/commands.ts';
import { addStock, subtractStock } from '../../apps/stock/commands.ts';
import type { Command } from '../../db/command.ts';
import type { Call } from './model.ts';

export const commandFor = (call: Call): Command => {
  switch (call.call) {
    case 'addFunds':
      return addFunds(call.user, call.amount);
    case 'pay':
      return pay(call.user, call.amount);
    case 'payOrder':
      return payOrder(call.user, call.order, call.amount);
    case 'cancel':
      return cancelPayment(call.user, call.order, call.amount);
    case 'addStock':
      return addStock(call.item, call.amount);
    case 'subtractStock':
      return subtractStock(call.item, call.amount);
    case 'createOrder':
      return createOrder(call.order, call.user);
    case 'addItem':
      return addItem(call.order, call.item, call.amount);
    case 'removeItem':
      return removeItem(call.order, call.item);
    case 'removeOrder':
      return removeOrder(call.order);
    case 'checkout':
      return checkout(call.order);
  }
};
