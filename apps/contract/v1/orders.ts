/** The calls under /v1/orders: baskets, and whole purchases in one call. */
import { z } from 'zod';
import { callsOf } from '../call.ts';
import { page, pageOf } from '../pages.ts';
import { CHECKOUT_REFUSALS } from '../paths/order.ts';
import { amountOf, balance, id, metadata, quantity, seconds, time } from '../values.ts';

const LINES_MAX = 1000;

/** What a caller wants: each item once. */
export const wanted = z
  .array(z.strictObject({ item_id: id, quantity: amountOf(1) }), 'must be a list of lines')
  .max(LINES_MAX, `must have at most ${LINES_MAX} lines`)
  .superRefine((lines, { addIssue }) => {
    const seen = new Set<string>();
    for (const [i, { item_id }] of lines.entries()) {
      const path = [i, 'item_id'];
      if (seen.has(item_id)) addIssue({ code: 'custom', path, message: 'is in another line too' });
      seen.add(item_id);
    }
  });

/** A day. */
const HOLD_MAX_S = 86_400;
const ttl_s = seconds(HOLD_MAX_S);

const state = z.enum(['open', 'held', 'paid', 'refunded']);

const order = z.strictObject({
  id,
  user_id: id,
  state,
  held_until: time.optional().describe('When the hold of a held order expires.'),
  lines: z
    .array(
      z.strictObject({
        item_id: id,
        quantity,
        unit_price: balance,
        total: balance,
        refunded: balance.describe('The quantity whose price was given back.'),
      }),
    )
    .describe('Sorted by the id of the item.'),
  total_cost: balance,
  refunded: balance.describe('The amount that was given back.'),
  created_at: time.optional(),
  paid_at: time.optional(),
  metadata: metadata.optional(),
});

/** An entry of a history, with further fields by its type. */
const event = z.looseObject({ at: time.optional(), type: z.string() });
const ofOrder = { params: { order_id: id }, answer: order } as const;

export const orderCalls = callsOf('orders', {
  create: {
    methods: ['POST'],
    path: '/v1/orders',
    summary: 'Create an order; with checkout, the whole purchase in one transaction, or nothing',
    description: 'Each item has one line.',
    params: {},
    body: z
      .strictObject({
        id: id.optional().describe('Made if it is not given.'),
        user_id: id,
        lines: wanted.optional(),
        metadata: metadata.optional(),
        checkout: z
          .boolean('must be true or false')
          .optional()
          .describe('Take the stock and the money at once.'),
        hold_s: ttl_s.optional().describe('Hold the lines for this long; not with checkout.'),
      })
      .refine(({ checkout, hold_s }) => !checkout || hold_s === undefined, {
        path: ['hold_s'],
        message: 'must be left out with checkout',
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
    tagged: true,
    refusals: ['order_not_found'],
    writes: false,
  },

  list: {
    methods: ['GET'],
    path: '/v1/orders',
    summary: 'List orders by id, or those of one user, the newest first',
    description: `A page may have fewer entries than its limit, or none, while has_more is true: if few orders are in the
state, or if the orders have many lines.`,
    params: {},
    query: z.strictObject({
      user_id: id.optional(),
      state: z
        .enum(state.options, `must be one of ${state.options.join(', ')}`)
        .optional()
        .describe('The current state.'),
      ...page,
    }),
    answer: pageOf(order),
    refusals: [],
    writes: false,
  },

  history: {
    methods: ['GET'],
    path: '/v1/orders/{order_id}/history',
    summary: 'Read what has happened to an order, in order',
    description: `The types are created, payment (an amount paid towards the order), paid (its checkout), cancelled, refunded,
held, released and others. What happened before Kassa recorded times has no at, or is missing.`,
    params: { order_id: id },
    query: z.strictObject(page),
    answer: pageOf(event),
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
    refusals: ['order_not_found', 'item_not_found', 'already_paid', 'order_held', 'limit_exceeded'],
    writes: true,
  },

  hold: {
    ...ofOrder,
    methods: ['POST'],
    path: '/v1/orders/{order_id}/hold',
    summary: 'Hold the stock of an order while somebody pays',
    description:
      'Others cannot take what is held. The hold ends by itself, after at least ttl_s seconds and at most an eighth more, rounded up to a second; held_until is exact. A held order that is held again gets the new time.',
    body: z.strictObject({ ttl_s }),
    refusals: ['order_not_found', 'item_not_found', 'order_empty', 'already_paid', 'out_of_stock'],
    writes: true,
  },

  release: {
    ...ofOrder,
    methods: ['POST'],
    path: '/v1/orders/{order_id}/release',
    summary: 'Give back what an order holds',
    description: 'An open order stays as it is.',
    refusals: ['order_not_found', 'already_paid'],
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
