/** The calls under /v1/items: prices and stock. */
import { z } from 'zod';
import { callsOf } from '../call.ts';
import { page, pageOf } from '../pages.ts';
import { AMOUNT_MAX, amountOf, balance, id, metadata, reason } from '../values.ts';
import { ADDS_UP, movement } from './movement.ts';

const DELTA = `must be a whole number from -${AMOUNT_MAX} to ${AMOUNT_MAX}, and not 0`;
const item = z.strictObject({
  id,
  price: balance,
  stock: balance,
  held: balance.describe('The quantity that orders hold now.'),
  available: balance.describe('What can be taken: the stock less what is held.'),
  metadata: metadata.optional(),
});

export const itemCalls = callsOf('items', {
  create: {
    methods: ['POST'],
    path: '/v1/items',
    summary: 'Create an item',
    params: {},
    body: z.strictObject({
      id: id.optional().describe('Made if it is not given.'),
      price: amountOf(0),
      stock: amountOf(0).optional().describe('0 if it is not given.'),
      metadata: metadata.optional(),
    }),
    status: 201,
    answer: item,
    refusals: ['already_exists'],
    writes: true,
  },

  get: {
    methods: ['GET'],
    path: '/v1/items/{item_id}',
    summary: 'Read an item',
    params: { item_id: id },
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
    summary: 'Read every change of the stock of an item, the newest first',
    description: `Checkouts are among them. ${ADDS_UP}`,
    params: { item_id: id },
    query: z.strictObject(page),
    answer: pageOf(movement),
    refusals: ['item_not_found'],
    writes: false,
  },

  changePrice: {
    methods: ['PATCH'],
    path: '/v1/items/{item_id}',
    summary: 'Change the price of an item',
    description: 'Lines that orders have already keep their price.',
    params: { item_id: id },
    body: z.strictObject({ price: amountOf(0) }),
    answer: item,
    refusals: ['item_not_found'],
    writes: true,
  },

  changeStock: {
    methods: ['POST'],
    path: '/v1/items/{item_id}/stock',
    summary: 'Add to the stock of an item, or take from it',
    description:
      'With expected_stock the change takes place only if the stock is exactly that. delta is not 0.',
    params: { item_id: id },
    body: z.strictObject({
      delta: z
        .int(DELTA)
        .min(-AMOUNT_MAX, DELTA)
        .max(AMOUNT_MAX, DELTA)
        .refine((delta) => delta !== 0, DELTA),
      expected_stock: amountOf(0).optional(),
      reason: reason.optional(),
    }),
    answer: item,
    refusals: ['item_not_found', 'out_of_stock', 'stock_changed', 'limit_exceeded'],
    writes: true,
  },
});
