/** The calls under /v1/orders/{order_id}/refunds. */
import { z } from 'zod';
import { callsOf } from '../call.ts';
import { page, pageOf } from '../pages.ts';
import {
  balance,
  EXAMPLE_IDS,
  item_id,
  order_id,
  quantity,
  reason,
  refund_id,
  time,
} from '../values.ts';
import { wanted } from './order.ts';

const refund = z.strictObject({
  id: refund_id,
  order_id,
  amount: balance.describe(
    'What the user got back: the sum over `lines` of quantity times unit price.',
  ),
  lines: z
    .array(z.strictObject({ item_id, quantity: quantity.describe('The units refunded.') }))
    .describe('What was refunded, sorted by item_id.'),
  restock: z.boolean().describe('Whether the units returned to the stock.'),
  reason: reason.optional().describe('The reason that the caller gave.'),
  created_at: time.describe('When it was made.'),
});

export const refundCalls = callsOf('refunds', {
  create: {
    methods: ['POST'],
    path: '/v1/orders/{order_id}/refunds',
    summary: 'Refund a paid order, in full or by line: money and stock in one transaction',
    description:
      'Careful: the body `{}` refunds everything that is left, at once. No line is ever refunded beyond the quantity that was bought.',
    params: { order_id },
    body: z.strictObject({
      lines: wanted
        .min(1, 'must have at least one line')
        .optional()
        .describe('What to refund. Leave it out to refund everything that is left.'),
      restock: z.boolean('must be true or false').optional().meta({
        description:
          'Whether the units return to the stock. Send false if they are lost or broken.',
        default: true,
      }),
      reason: reason.optional().describe('Why, in your words. The refund shows it.'),
    }),
    examples: [
      {
        summary: 'One unit, broken',
        body: {
          lines: [{ item_id: EXAMPLE_IDS.item_id, quantity: 1 }],
          restock: false,
          reason: 'broken',
        },
      },
      { summary: 'Everything that is left', body: {} },
    ],
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
    scope: 'wallets:write', // it gives money back, so it is not for the buyer
  },

  list: {
    methods: ['GET'],
    path: '/v1/orders/{order_id}/refunds',
    summary: 'List the refunds of an order, oldest first',
    description: 'A page ends early once it exceeds 1 MiB.',
    params: { order_id },
    query: z.strictObject(page),
    answer: pageOf(refund),
    refusals: ['order_not_found'],
    writes: false,
  },

  get: {
    methods: ['GET'],
    path: '/v1/orders/{order_id}/refunds/{refund_id}',
    summary: 'Read a refund',
    params: { order_id, refund_id },
    answer: refund,
    refusals: ['order_not_found', 'refund_not_found'],
    writes: false,
  },
});
