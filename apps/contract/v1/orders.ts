/** The calls under /v1/orders: baskets, and whole purchases in one call. */
import { z } from 'zod';
import { callsOf } from '../call.ts';
import { CHECKOUT_REFUSALS } from '../paths/order.ts';
import { amountOf, balance, id, metadata, quantity } from '../values.ts';

const LINES_MAX = 1000;

/** What a caller wants: each item once. */
const wanted = z
  .array(z.strictObject({ item_id: id, quantity: amountOf(1) }))
  .max(LINES_MAX, `must have at most ${LINES_MAX} lines`)
  .superRefine((lines, { addIssue }) => {
    const seen = new Set<string>();
    for (const [i, { item_id }] of lines.entries()) {
      const path = [i, 'item_id'];
      if (seen.has(item_id)) addIssue({ code: 'custom', path, message: 'is in another line too' });
      seen.add(item_id);
    }
  });

const order = z.strictObject({
  id,
  user_id: id,
  state: z.enum(['open', 'paid']),
  lines: z
    .array(z.strictObject({ item_id: id, quantity, unit_price: balance, total: balance }))
    .describe('Sorted by the id of the item.'),
  total_cost: balance,
  metadata: metadata.optional(),
});
const ofOrder = { params: { order_id: id }, answer: order } as const;

export const orderCalls = callsOf('orders', {
  create: {
    methods: ['POST'],
    path: '/v1/orders',
    summary: 'Create an order; with checkout, the whole purchase in one transaction, or nothing',
    description: 'Each item has one line.',
    params: {},
    body: z.strictObject({
      id: id.optional().describe('Made if it is not given.'),
      user_id: id,
      lines: wanted.optional(),
      metadata: metadata.optional(),
      checkout: z
        .boolean('must be true or false')
        .optional()
        .describe('Take the stock and the money at once.'),
    }),
    status: 201,
    answer: order,
    refusals: [
      'user_not_found',
      'item_not_found',
      'already_exists',
      'order_empty',
      'out_of_stock',
      'insufficient_credit',
      'limit_exceeded',
    ],
    writes: true,
  },

  get: {
    ...ofOrder,
    methods: ['GET'],
    path: '/v1/orders/{order_id}',
    summary: 'Read an order',
    refusals: ['order_not_found'],
    writes: false,
  },

  setLines: {
    ...ofOrder,
    methods: ['PUT'],
    path: '/v1/orders/{order_id}/lines',
    summary: 'Replace the lines of an open order',
    description: 'An item that the order has already keeps its price.',
    body: z.strictObject({ lines: wanted }),
    refusals: ['order_not_found', 'item_not_found', 'already_paid', 'limit_exceeded'],
    writes: true,
  },

  checkout: {
    ...ofOrder,
    methods: ['POST'],
    path: '/v1/orders/{order_id}/checkout',
    summary: 'Take the stock and the money, and mark the order as paid, or change nothing',
    description: 'A checkout of a paid order gives the same answer and changes nothing.',
    refusals: CHECKOUT_REFUSALS,
    writes: true,
  },

  remove: {
    methods: ['DELETE'],
    path: '/v1/orders/{order_id}',
    summary: 'Remove an order that is not paid',
    params: { order_id: id },
    answer: z.strictObject({ id }),
    refusals: ['order_not_found', 'already_paid'],
    writes: true,
  },
});
