/** The calls under /v1/orders: baskets, and whole purchases in one call. */
import { z } from 'zod';
import { callsOf } from '../call.ts';
import { page, pageOf } from '../pages.ts';
import { CHECKOUT_REFUSALS } from '../paths/order.ts';
import { EXAMPLE_IDS, id, metadata, newId, order_id, user_id } from '../values.ts';
import { changedOrder, event, order, state, ttl_s, wanted } from './order.ts';

const ofOrder = { params: { order_id }, answer: changedOrder } as const;
const example = (quantity: number) => ({
  user_id: EXAMPLE_IDS.user_id,
  lines: [{ item_id: EXAMPLE_IDS.item_id, quantity }],
});

export const orderCalls = callsOf('orders', {
  create: {
    methods: ['POST'],
    path: '/v1/orders',
    summary:
      'Create an order, and optionally hold its units or check it out in the same transaction',
    description:
      'With `checkout` this is the whole purchase: everything happens, or nothing. An order has at most 1,000 lines, each for a different item. Without `checkout` and `hold_s` the new order is open.',
    params: {},
    body: z
      .strictObject({
        id: newId,
        user_id: user_id.describe('Who pays.'),
        lines: wanted.optional().describe('What to buy. Without it, the order is empty.'),
        metadata: metadata.optional(),
        checkout: z.boolean('must be true or false').optional().meta({
          description: 'Pay at once: take the stock and the money, or create nothing.',
          default: false,
        }),
        hold_s: ttl_s
          .optional()
          .describe(
            'Hold the units for at least this many seconds. It means the same as `ttl_s` in the hold call. Not together with `checkout`.',
          ),
      })
      .refine(({ checkout, hold_s }) => !checkout || hold_s === undefined, {
        path: ['hold_s'],
        message: 'must be left out with checkout',
      }),
    examples: [
      { summary: 'A purchase in one call', body: { ...example(2), checkout: true } },
      {
        summary: 'Units are held while somebody pays',
        body: { ...example(1), hold_s: 600 },
      },
      { summary: 'An open order, to be changed and paid for later', body: example(3) },
    ],
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
    methods: ['GET'],
    path: '/v1/orders/{order_id}',
    summary: 'Read an order',
    params: { order_id },
    answer: order,
    tagged: true,
    refusals: ['order_not_found'],
    writes: false,
  },

  list: {
    methods: ['GET'],
    path: '/v1/orders',
    summary: "List all orders by id, or one user's orders, newest first",
    description: `A page may have fewer entries than \`limit\`, or none, even though \`has_more\` is true: when few orders are in the
state that you ask for, or orders have many lines. Keep following \`next\`.`,
    params: {},
    query: z.strictObject({
      user_id: id
        .optional()
        .describe('Only the orders of this user. The list is empty if there is no such user.'),
      state: z
        .enum(state.options, `must be one of ${state.options.join(', ')}`)
        .optional()
        .describe('Only orders in this state now.'),
      ...page,
    }),
    answer: pageOf(order),
    refusals: [],
    writes: false,
  },

  history: {
    methods: ['GET'],
    path: '/v1/orders/{order_id}/history',
    summary: "Read an order's history, oldest entry first",
    description: `Which other fields an entry has depends on its type: see "Types in an order's history" on /docs. What happened
before Kassa recorded times has no \`at\`, or is missing.`,
    params: { order_id },
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
    description: 'Items that are already in the order keep their price.',
    body: z.strictObject({ lines: wanted.describe('The complete new list of lines.') }),
    examples: [{ summary: 'Three units of one item', body: { lines: example(3).lines } }],
    refusals: ['order_not_found', 'item_not_found', 'already_paid', 'order_held', 'limit_exceeded'],
    writes: true,
  },

  hold: {
    ...ofOrder,
    methods: ['POST'],
    path: '/v1/orders/{order_id}/hold',
    summary: 'Hold the units of an order while somebody pays',
    description:
      'Nobody else can take held units. The hold ends by itself after at least `ttl_s` seconds and at most an eighth more, rounded up to a second; `held_until` says exactly when. Holding the order again replaces that time.',
    body: z.strictObject({
      ttl_s: ttl_s.describe(
        'Hold the units for at least this many seconds. It means the same as `hold_s` in POST /v1/orders.',
      ),
    }),
    examples: [{ summary: 'Ten minutes', body: { ttl_s: 600 } }],
    refusals: ['order_not_found', 'item_not_found', 'order_empty', 'already_paid', 'out_of_stock'],
    writes: true,
  },

  release: {
    ...ofOrder,
    methods: ['POST'],
    path: '/v1/orders/{order_id}/release',
    summary: 'Release the hold on an order',
    description: 'If the order is open, nothing changes.',
    refusals: ['order_not_found', 'already_paid'],
    writes: true,
  },

  checkout: {
    ...ofOrder,
    methods: ['POST'],
    path: '/v1/orders/{order_id}/checkout',
    summary: 'Check out an order: take the stock and the money, or change nothing',
    description:
      'A held order uses the units that it holds. Checking out a paid order again changes nothing and gives the same answer.',
    refusals: CHECKOUT_REFUSALS,
    writes: true,
  },

  remove: {
    methods: ['DELETE'],
    path: '/v1/orders/{order_id}',
    summary: 'Remove an unpaid order and release its hold',
    params: { order_id },
    answer: z.strictObject({ id: order_id }),
    refusals: ['order_not_found', 'already_paid'],
    writes: true,
  },
});
