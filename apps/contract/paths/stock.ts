/** The calls under /stock: items, their price and stock. */
import { z } from 'zod';
import { callsOf } from '../call.ts';
import { amount, balance, item_id, rowCount, startingValue, warning } from '../values.ts';

const units = balance.describe('All units in stock, including held ones.');
const stock = z.strictObject({ item_id, stock: units });

export const stockPaths = callsOf('path_stock', {
  createItem: {
    methods: ['POST'],
    path: '/stock/item/create/{price}',
    summary: 'Create an item with this price and no stock',
    params: { price: startingValue('The price of one unit.', 10) },
    answer: z.strictObject({ item_id }),
    refusals: [],
    writes: true,
  },

  findItem: {
    methods: ['GET'],
    path: '/stock/find/{item_id}',
    summary: 'Read the stock and the price of an item',
    params: { item_id },
    answer: z.strictObject({
      item_id,
      stock: units,
      price: balance.describe('The price of one unit.'),
    }),
    refusals: ['item_not_found'],
    writes: false,
  },

  addStock: {
    methods: ['POST'],
    path: '/stock/add/{item_id}/{amount}',
    summary: 'Add to the stock of an item',
    params: { item_id, amount: amount('The units to add.', 100) },
    answer: stock,
    refusals: ['item_not_found', 'limit_exceeded'],
    writes: true,
  },

  subtractStock: {
    methods: ['POST'],
    path: '/stock/subtract/{item_id}/{amount}',
    summary: 'Take from the stock of an item',
    params: { item_id, amount: amount('The units to take.', 1) },
    answer: stock,
    refusals: ['item_not_found', 'out_of_stock'],
    writes: true,
  },

  initItems: {
    methods: ['POST'],
    path: '/stock/batch_init/{n}/{starting_stock}/{item_price}',
    summary: 'For load tests: create the items 0 … n-1, or set their stock and price',
    description: warning('items'),
    params: {
      n: rowCount('How many items.', 10),
      starting_stock: startingValue('Their stock.', 100),
      item_price: startingValue('The price of one unit.', 10),
    },
    answer: z.strictObject({ msg: z.string().describe('What was done, for people.') }),
    refusals: ['batch_init_disabled', 'out_of_stock'],
    writes: true,
    scope: 'admin',
  },
});
