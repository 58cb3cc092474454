/** The calls under /v1/orders/{order_id}/refunds. */
import { z } from 'zod';
import { callsOf } from '../call.ts';
import { page, pageOf } from '../pages.ts';
import { balance, id, quantity, reason, time } from '../values.ts';
import { wanted } from './orders.ts';

const refund = z.strictObject({
  id,
  order_id: id,
  amount: balance.describe('What the user got back: the quantities times the prices of the lines.'),
  lines: z
    .array(z.strictObject({ item_id: id, quantity }))
    .describe('Sorted by the id of the item.'),
  restock: z.boolean(),
  reason: reason.optional(),
  created_at: time,
});

export const refundCalls = callsOf('refunds', {
  create: {
    methods: ['POST'],
    path: '/v1/orders/{order_id}/refunds',
    summary: 'Give back the money for lines of a paid order, and their stock, in one transaction',
    description:
      'For each line at most the quantity that was bought, less what was refunded before.',
    params: { order_id: id },
    body: z.strictObject({
      lines: wanted
        .min(1, 'must have at least one line')
        .optional()
        .describe('If not given, all that is left.'),
      restock: z
        .boolean('must be true or false')
        .optional()
        .describe('Whether the units return to the stock; true if not given.'),
      reason: reason.optional(),
    }),
    status: 201,
    answer: refund,
    refusals: [
      'order_not_found',
      'user_not_found',
      'item_not_found',
      'not_paid',
      'refund_exceeds',
      'limit_exceeded',
    ],
    writes: true,
  },

  list: {
    methods: ['GET'],
    path: '/v1/orders/{order_id}/refunds',
    summary: 'List the refunds of an order, the oldest first',
    description: 'A page ends early with the refund that passes 1 MiB.',
    params: { order_id: id },
    query: z.strictObject(page),
    answer: pageOf(refund),
    refusals: ['order_not_found'],
    writes: false,
  },

  get: {
    methods: ['GET'],
    path: '/v1/orders/{order_id}/refunds/{refund_id}',
    summary: 'Read a refund',
    params: { order_id: id, refund_id: id },
    answer: refund,
    refusals: ['order_not_found', 'refund_not_found'],
    writes: false,
  },
});
