/** The calls under /orders: baskets and checkout. */
import { z } from 'zod';
import { callsOf } from '../call.ts';
import {
  amount,
  balance,
  item_id,
  order_id,
  quantity,
  rowCount,
  startingValue,
  user_id,
  warning,
} from '../values.ts';

const lines = z
  .array(z.tuple([item_id, quantity.describe('How many units.')]))
  .describe('Pairs of item_id and quantity, sorted by item_id.');
const total_cost = balance.describe('The sum of quantity times price over all lines.');
const basket = z.strictObject({ order_id, items: lines, total_cost });
const add = {
  methods: ['POST'],
  answer: basket,
  refusals: ['order_not_found', 'item_not_found', 'already_paid', 'order_held', 'limit_exceeded'],
  writes: true,
} as const;
const PRICE =
  'A line keeps the price that its item had when it was first added. An order has at most 1,000 lines.';

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
    params: { user_id },
    answer: z.strictObject({ order_id }),
    refusals: ['user_not_found'],
    writes: true,
  },

  findOrder: {
    methods: ['GET'],
    path: '/orders/find/{order_id}',
    summary: 'Read an order',
    params: { order_id },
    answer: z.strictObject({
      order_id,
      paid: z.boolean().describe('True after a checkout; a payment alone does not count.'),
      items: lines,
      user_id,
      total_cost,
    }),
    refusals: ['order_not_found'],
    writes: false,
  },

  addItem: {
    ...add,
    path: '/orders/addItem/{order_id}/{item_id}/{quantity}',
    summary: 'Add units of an item',
    description: PRICE,
    params: { order_id, item_id, quantity: amount('How many units to add.', 2) },
  },

  removeItem: {
    methods: ['DELETE', 'POST'],
    path: '/orders/removeItem/{order_id}/{item_id}',
    summary: 'Remove the line of an item',
    params: { order_id, item_id },
    answer: basket,
    refusals: ['order_not_found', 'item_not_found', 'already_paid', 'order_held'],
    writes: true,
  },

  addOneItem: {
    ...add,
    path: '/orders/addItem/{order_id}/{item_id}',
    summary: 'Add one unit of an item',
    description: PRICE,
    params: { order_id, item_id },
  },

  checkout: {
    methods: ['POST'],
    path: '/orders/checkout/{order_id}',
    summary: 'Check out an order: take the stock and the money, or change nothing',
    description: `It is one transaction. A payment made towards the order counts towards the total. Checking out a
paid order again changes nothing and gives the same answer.`,
    params: { order_id },
    answer: z.strictObject({
      order_id,
      paid: z.literal(true).describe('The order is paid.'),
      total_cost,
    }),
    refusals: CHECKOUT_REFUSALS,
    writes: true,
  },

  removeOrder: {
    methods: ['DELETE', 'POST'],
    path: '/orders/remove/{order_id}',
    summary: 'Remove an unpaid order',
    params: { order_id },
    answer: z.strictObject({ order_id }),
    refusals: ['order_not_found', 'already_paid'],
    writes: true,
  },

  initOrders: {
    methods: ['POST'],
    path: '/orders/batch_init/{n}/{n_items}/{n_users}/{item_price}',
    summary: 'For load tests: create or replace the orders 0 … n-1',
    description: `${warning('orders')} Each has a random user below n_users and two random items below n_items.`,
    params: {
      n: rowCount('How many orders.', 10),
      n_items: rowCount('How many items to choose from.', 10),
      n_users: rowCount('How many users to choose from.', 10),
      item_price: startingValue('The price in the lines.', 10),
    },
    answer: z.strictObject({ msg: z.string().describe('What was done, for people.') }),
    refusals: ['batch_init_disabled'],
    writes: true,
    scope: 'admin',
  },
});
