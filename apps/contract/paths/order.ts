/** The calls under /orders: baskets and checkout. */
import { z } from 'zod';
import { callsOf } from '../call.ts';
import { amount, balance, id, quantity, rowCount, startingValue } from '../values.ts';

const lines = z
  .array(z.tuple([id, quantity]))
  .describe('Pairs of an item and its quantity, sorted by the id of the item.');
const basket = z.strictObject({ order_id: id, items: lines, total_cost: balance });
const add = {
  methods: ['POST'],
  answer: basket,
  refusals: ['order_not_found', 'item_not_found', 'already_paid', 'order_held', 'limit_exceeded'],
  writes: true,
} as const;
const PRICE =
  'The price of a line is fixed when its item is first added. An order has at most 1,000 lines.';

/** What can refuse a checkout, of both generations. */
export const CHECKOUT_REFUSALS = [
  'order_not_found',
  'user_not_found',
  'item_not_found',
  'order_empty',
  'out_of_stock',
  'insufficient_credit',
  'limit_exceeded',
] as const;

export const orderPaths = callsOf('path_orders', {
  createOrder: {
    methods: ['POST'],
    path: '/orders/create/{user_id}',
    summary: 'Create an empty order for a user',
    params: { user_id: id },
    answer: z.strictObject({ order_id: id }),
    refusals: ['user_not_found'],
    writes: true,
  },

  findOrder: {
    methods: ['GET'],
    path: '/orders/find/{order_id}',
    summary: 'Read an order',
    params: { order_id: id },
    answer: z.strictObject({
      order_id: id,
      paid: z.boolean().describe('True after a checkout, not after a payment.'),
      items: lines,
      user_id: id,
      total_cost: balance,
    }),
    refusals: ['order_not_found'],
    writes: false,
  },

  addItem: {
    ...add,
    path: '/orders/addItem/{order_id}/{item_id}/{quantity}',
    summary: 'Add to the line of an item',
    description: PRICE,
    params: { order_id: id, item_id: id, quantity: amount },
  },

  addOneItem: {
    ...add,
    path: '/orders/addItem/{order_id}/{item_id}',
    summary: 'Add one unit of an item',
    description: PRICE,
    params: { order_id: id, item_id: id },
  },

  removeItem: {
    methods: ['DELETE', 'POST'],
    path: '/orders/removeItem/{order_id}/{item_id}',
    summary: 'Remove the line of an item',
    params: { order_id: id, item_id: id },
    answer: basket,
    refusals: ['order_not_found', 'item_not_found', 'already_paid', 'order_held'],
    writes: true,
  },

  removeOrder: {
    methods: ['DELETE', 'POST'],
    path: '/orders/remove/{order_id}',
    summary: 'Remove an order that is not paid',
    params: { order_id: id },
    answer: z.strictObject({ order_id: id }),
    refusals: ['order_not_found', 'already_paid'],
    writes: true,
  },

  checkout: {
    methods: ['POST'],
    path: '/orders/checkout/{order_id}',
    summary: 'Take the stock and the money, and mark the order as paid, or change nothing',
    description: `One transaction. A payment that was made for the order counts towards the total. A checkout of
a paid order gives the same answer and changes nothing.`,
    params: { order_id: id },
    answer: z.strictObject({ order_id: id, paid: z.literal(true), total_cost: balance }),
    refusals: CHECKOUT_REFUSALS,
    writes: true,
  },

  initOrders: {
    methods: ['POST'],
    path: '/orders/batch_init/{n}/{n_items}/{n_users}/{item_price}',
    summary: 'For load tests: create or replace the orders 0 … n-1',
    description: 'Each has a random user below n_users and two random items below n_items.',
    params: { n: rowCount, n_items: rowCount, n_users: rowCount, item_price: startingValue },
    answer: z.strictObject({ msg: z.string() }),
    refusals: ['batch_init_disabled'],
    writes: true,
  },
});
