/** The calls under /stock: items, their price and stock. */
import { z } from 'zod';
import { callsOf } from '../call.ts';
import { amount, balance, id, rowCount, startingValue } from '../values.ts';

const stock = z.strictObject({ item_id: id, stock: balance });

export const stockPaths = callsOf('path_stock', {
  createItem: {
    methods: ['POST'],
    path: '/stock/item/create/{price}',
    summary: 'Create an item with this price and no stock',
    params: { price: startingValue },
    answer: z.strictObject({ item_id: id }),
    refusals: [],
    writes: true,
  },

  findItem: {
    methods: ['GET'],
    path: '/stock/find/{item_id}',
    summary: 'Read the stock and the price of an item',
    params: { item_id: id },
    answer: z.strictObject({ item_id: id, stock: balance, price: balance }),
    refusals: ['item_not_found'],
    writes: false,
  },

  addStock: {
    methods: ['POST'],
    path: '/stock/add/{item_id}/{amount}',
    summary: 'Add to the stock of an item',
    params: { item_id: id, amount },
    answer: stock,
    refusals: ['item_not_found', 'limit_exceeded'],
    writes: true,
  },

  subtractStock: {
    methods: ['POST'],
    path: '/stock/subtract/{item_id}/{amount}',
    summary: 'Take from the stock of an item',
    params: { item_id: id, amount },
    answer: stock,
    refusals: ['item_not_found', 'out_of_stock'],
    writes: true,
  },

  initItems: {
    methods: ['POST'],
    path: '/stock/batch_init/{n}/{starting_stock}/{item_price}',
    summary: 'For load tests: create the items 0 … n-1, or set their stock and price',
    params: { n: rowCount, starting_stock: startingValue, item_price: startingValue },
    answer: z.strictObject({ msg: z.string() }),
    refusals: ['batch_init_disabled', 'out_of_stock'],
    writes: true,
  },
});
