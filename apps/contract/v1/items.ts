/** The calls under /v1/items: prices and stock. */
import { z } from 'zod';
import { callsOf } from '../call.ts';
import { page, pageOf } from '../pages.ts';
import {
  AMOUNT_MAX,
  amountOf,
  balance,
  item_id,
  metadata,
  newId,
  reason,
  wholeNumber,
} from '../values.ts';
import { ADDS_UP, movement } from './movement.ts';

const changeable = {
  id: item_id,
  price: balance.describe('The price of one unit.'),
  stock: balance.describe('All units in stock, including held ones.'),
  held: balance.describe('The units that orders hold now.'),
  available: balance.describe('The units that can be bought or held: `stock` minus `held`.'),
};
/** What changes answer: they do not read the metadata. */
const changed = z.strictObject(changeable);
const item = z.strictObject({ ...changeable, metadata: metadata.optional() });
const price = amountOf(0).describe('The price of one unit.');
const delta = wholeNumber(-AMOUNT_MAX, AMOUNT_MAX, ', and not 0');

export const itemCalls = callsOf('items', {
  create: {
    methods: ['POST'],
    path: '/v1/items',
    summary: 'Create an item',
    params: {},
    body: z.strictObject({
      id: newId,
      price,
      stock: amountOf(0).optional().meta({ description: 'The initial stock.', default: 0 }),
      metadata: metadata.optional(),
    }),
    examples: [{ summary: 'An item in stock', body: { price: 10, stock: 100 } }],
    status: 201,
    answer: item,
    refusals: ['already_exists'],
    writes: true,
  },

  get: {
    methods: ['GET'],
    path: '/v1/items/{item_id}',
    summary: 'Read an item',
    params: { item_id },
    answer: item,
    tagged: true,
    refusals: ['item_not_found'],
    writes: false,
  },

  list: {
    methods: ['GET'],
    path: '/v1/items',
    summary: 'List items by id',
    params: {},
    query: z.strictObject(page),
    answer: pageOf(item),
    refusals: [],
    writes: false,
  },

  movements: {
    methods: ['GET'],
    path: '/v1/items/{item_id}/movements',
    summary: "Read an item's statement: every change to the stock, newest first",
    description: `Checkouts are included. ${ADDS_UP}`,
    params: { item_id },
    query: z.strictObject(page),
    answer: pageOf(movement),
    refusals: ['item_not_found'],
    writes: false,
  },

  changePrice: {
    methods: ['PATCH'],
    path: '/v1/items/{item_id}',
    summary: "Change an item's price",
    description: 'Existing order lines keep the price that the item had when they were added.',
    params: { item_id },
    body: z.strictObject({ price }),
    examples: [{ summary: 'A new price', body: { price: 12 } }],
    answer: changed,
    refusals: ['item_not_found'],
    writes: true,
  },

  changeStock: {
    methods: ['POST'],
    path: '/v1/items/{item_id}/stock',
    summary: "Add to an item's stock, or take from it",
    description:
      'Units that orders hold cannot be taken. With `expected_stock`, the stock changes only if it is exactly that number.',
    params: { item_id },
    body: z.strictObject({
      delta: delta
        .refine((units) => units !== 0, 'must not be 0')
        .describe('How many units to add; negative to take units away. Not 0.'),
      expected_stock: amountOf(0)
        .optional()
        .describe('The stock that you last read. If it has changed since, the call is refused.'),
      reason: reason.optional().describe('Why, in your words. The statement shows it.'),
    }),
    examples: [{ summary: 'A delivery', body: { delta: 20, reason: 'delivery' } }],
    answer: changed,
    refusals: ['item_not_found', 'out_of_stock', 'stock_changed', 'limit_exceeded'],
    writes: true,
  },
});
