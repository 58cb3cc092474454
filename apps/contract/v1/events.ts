/** The call that reads events, and the types of events. */
import { z } from 'zod';
import { callsOf } from '../call.ts';
import {
  AMOUNT_MAX,
  balance,
  id,
  item_id,
  order_id,
  quantity,
  refund_id,
  time,
  user_id,
  whole,
} from '../values.ts';

const line = z.strictObject({ item_id, quantity, unit_price: balance });
const lines = z.array(line).describe('The lines of the order.');
const ids = { order_id, user_id };
const amount = balance.describe('In the smallest unit.');
const change = z.int().min(-AMOUNT_MAX).max(AMOUNT_MAX);
const reason = z.string().describe('The reason of the movement in the statement.');

/** What has happened, and the data of its event. */
const DATA = {
  'order.created': z
    .strictObject({ ...ids, total_cost: amount, lines })
    .describe('An order was created.'),
  'order.changed': z
    .strictObject({
      ...ids,
      total_cost: amount,
      lines: z
        .array(line.extend({ quantity: balance }))
        .describe('The lines that changed; a line that was removed has the quantity 0.'),
    })
    .describe('Its lines changed. `lines` has only those; a removed line has the quantity 0.'),
  'order.held': z
    .strictObject({
      ...ids,
      held_until: time.describe('When the hold expires by itself. The expiry has no event.'),
      lines,
    })
    .describe('Its units were reserved until `held_until`. The expiry of a hold has no event.'),
  'order.released': z.strictObject({ ...ids, lines }).describe('A call ended its hold.'),
  'order.paid': z
    .strictObject({
      ...ids,
      amount: amount.describe('The total, which left the credit.'),
      taken_in: amount.optional().describe('The part that an earlier payment had already covered.'),
      lines,
    })
    .describe(
      'It was checked out: `amount`, the total, left the credit, and the units left the stock. `taken_in` is the part that an earlier `pay` had already covered.',
    ),
  'order.cancelled': z
    .strictObject({ ...ids, amount: amount.describe('What was given back.'), lines })
    .describe('Its checkout was undone: money and units returned, and it is open again.'),
  'order.refunded': z
    .strictObject({
      ...ids,
      id: refund_id,
      amount,
      lines: z.array(z.strictObject({ item_id, quantity })).describe('What was refunded.'),
      restock: z.boolean().describe('Whether these units returned to the stock.'),
      reason: z.string().optional(),
    })
    .describe('A refund, `id`, gave back `amount` for `lines`.'),
  'order.payment_made': z
    .strictObject({ ...ids, amount })
    .describe('The path call `pay` paid `amount` towards it.'),
  'order.payment_cancelled': z
    .strictObject({ ...ids, amount })
    .describe('That payment was given back.'),
  'order.removed': z.strictObject(ids).describe('It was removed.'),
  'user.created': z.strictObject({ user_id, credit: balance }).describe('A user was created.'),
  'credit.changed': z
    .strictObject({ user_id, amount: change, credit: balance, reason })
    .describe('Credit changed by `amount` to `credit`, without an order.'),
  'item.created': z
    .strictObject({ item_id, price: balance, stock: balance })
    .describe('An item was created.'),
  'item.price_changed': z
    .strictObject({ item_id, price: balance })
    .describe('The price of an item changed.'),
  'stock.changed': z
    .strictObject({ item_id, amount: change, stock: balance, reason })
    .describe('Stock changed by `amount` to `stock`, without an order.'),
} as const;

type EventType = keyof typeof DATA;
/** For the docs: each type with its data. */
export const EVENT_DATA: Readonly<Record<string, z.ZodType>> = DATA;
export const EVENT_TYPES = Object.keys(DATA) as EventType[];

const cursor = z
  .string()
  .regex(/^[\w.-]{1,8000}$/, 'must be 1-8,000 of the characters A-Z a-z 0-9 _ . -')
  .describe('Send it as `after` to get what follows.');

const WHEN = time.describe('When it happened. For one order these times never go back.');

const eventOf = <T extends EventType>(type: T) =>
  z.strictObject({
    id: id.describe('Unique, and the same each time the event is read.'),
    type: z.literal(type).describe('What has happened.'),
    created_at: WHEN,
    request_id: z.string().optional().describe('The X-Request-Id of the call that caused it.'),
    principal: z
      .string()
      .optional()
      .describe('Who made that call, where authentication is on, such as `key:shop`.'),
    traceparent: z
      .string()
      .optional()
      .describe('The trace of that call, if it was traced (W3C Trace Context).'),
    cursor,
    data: DATA[type],
  });

/** As webhooks send it: the time has the name that the Standard Webhooks give it. */
const sentOf = <T extends EventType>(type: T) =>
  eventOf(type).omit({ created_at: true }).extend({ timestamp: WHEN });

const event = z.discriminatedUnion('type', [
  eventOf('order.created'),
  eventOf('order.changed'),
  eventOf('order.held'),
  eventOf('order.released'),
  eventOf('order.paid'),
  eventOf('order.cancelled'),
  eventOf('order.refunded'),
  eventOf('order.payment_made'),
  eventOf('order.payment_cancelled'),
  eventOf('order.removed'),
  eventOf('user.created'),
  eventOf('credit.changed'),
  eventOf('item.created'),
  eventOf('item.price_changed'),
  eventOf('stock.changed'),
]);

export const sentEvent = z.discriminatedUnion('type', [
  sentOf('order.created'),
  sentOf('order.changed'),
  sentOf('order.held'),
  sentOf('order.released'),
  sentOf('order.paid'),
  sentOf('order.cancelled'),
  sentOf('order.refunded'),
  sentOf('order.payment_made'),
  sentOf('order.payment_cancelled'),
  sentOf('order.removed'),
  sentOf('user.created'),
  sentOf('credit.changed'),
  sentOf('item.created'),
  sentOf('item.price_changed'),
  sentOf('stock.changed'),
]);

const CURSOR = 'must be the `next` of an answer, the `cursor` of an event, or latest';
const TYPES = `must be types of events, separated by commas: ${EVENT_TYPES.join(', ')}`;
const ONE_TYPE = EVENT_TYPES.join('|').replaceAll('.', '\\.');
/** For a cursor of the right form that is none. */
export const wrongCursor = { path: 'after', message: CURSOR };

/** How long a call may wait. The gateway gives up on an answer after 20 s. */
const WAIT_MAX_S = 15;

export const eventCalls = callsOf('events', {
  list: {
    methods: ['GET'],
    path: '/v1/events',
    summary: 'Read events in order',
    description:
      'After a cursor, every committed event appears exactly once, and nothing that was rolled back ever appears. Events are kept for 72 hours, unless the operator has changed that. If there are none yet, the call waits up to `wait_s` for the first. With `Accept: text/event-stream` the answer is an endless stream of server-sent events. Each has its `cursor` as id, so `EventSource` resumes by itself (`Last-Event-ID`); listen to each type by its name, such as `order.paid`.',
    params: {},
    query: z.strictObject({
      after: z
        .string()
        .regex(/^[\w.-]{1,8000}$/, CURSOR)
        .optional()
        .describe(
          'The `next` of the previous answer, or the `cursor` of an event. Leave it out to start with the oldest event that is kept; send `latest` to start after the newest.',
        ),
      limit: whole(1, 1000).default(100).describe('The maximum number of events in the answer.'),
      wait_s: whole(0, WAIT_MAX_S)
        .default(0)
        .describe('How many seconds to wait for the first event.'),
      type: z
        .string()
        .regex(new RegExp(`^(?:${ONE_TYPE})(?:,(?:${ONE_TYPE}))*$`), TYPES)
        .optional()
        .describe('Only events of these types, separated by commas.'),
      order_id: order_id.optional().describe('Only events of this order.'),
      user_id: user_id.optional().describe('Only events of this user and their orders.'),
      item_id: item_id
        .optional()
        .describe('Only events of this item and of orders that contain it.'),
    }),
    answer: z.strictObject({
      data: z.array(event).describe('The events, oldest first.'),
      next: cursor.describe('Send it as `after` in the next call, even if `data` is empty.'),
    }),
    refusals: ['cursor_expired'],
    writes: false,
  },
});
