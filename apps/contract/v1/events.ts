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
const reason = z.string().describe('That of the movement: see the statement.');

/** What has happened, with what the event says of it. */
const DATA = {
  'order.created': z.strictObject({ ...ids, total_cost: amount, lines }),
  'order.changed': z.strictObject({
    ...ids,
    total_cost: amount,
    lines: z
      .array(line.extend({ quantity: balance }))
      .describe('The lines that changed; a line that was removed has the quantity 0.'),
  }),
  'order.held': z.strictObject({
    ...ids,
    held_until: time.describe('When the hold expires by itself. That is no event.'),
    lines,
  }),
  'order.released': z.strictObject({ ...ids, lines }),
  'order.paid': z.strictObject({
    ...ids,
    amount: amount.describe(
      'The total, which left the credit; the units of the lines left the stock.',
    ),
    taken_in: amount.optional().describe('The part that an earlier payment had paid already.'),
    lines,
  }),
  'order.cancelled': z.strictObject({
    ...ids,
    amount: amount.describe('What was given back. The units of the lines returned to the stock.'),
    lines,
  }),
  'order.refunded': z.strictObject({
    ...ids,
    id: refund_id,
    amount,
    lines: z.array(z.strictObject({ item_id, quantity })).describe('What was refunded.'),
    restock: z.boolean().describe('Whether these units returned to the stock.'),
    reason: z.string().optional(),
  }),
  'order.payment_made': z.strictObject({ ...ids, amount }),
  'order.payment_cancelled': z.strictObject({ ...ids, amount }),
  'order.removed': z.strictObject(ids),
  'user.created': z.strictObject({ user_id, credit: balance }),
  'credit.changed': z.strictObject({ user_id, amount: change, credit: balance, reason }),
  'item.created': z.strictObject({ item_id, price: balance, stock: balance }),
  'item.price_changed': z.strictObject({ item_id, price: balance }),
  'stock.changed': z.strictObject({ item_id, amount: change, stock: balance, reason }),
} as const;

type EventType = keyof typeof DATA;
export const EVENT_TYPES = Object.keys(DATA) as EventType[];

const cursor = z
  .string()
  .regex(/^[\w.-]{1,8000}$/)
  .describe('The `after` of what follows this event.');

const WHEN = time.describe('When it happened. The times of the events of an order never go back.');

const eventOf = <T extends EventType>(type: T) =>
  z.strictObject({
    id: id.describe('Unique, and the same whenever the event is read.'),
    type: z.literal(type),
    created_at: WHEN,
    request_id: z.string().optional().describe('The x-request-id of the call.'),
    traceparent: z
      .string()
      .optional()
      .describe('The trace of the call, if it was traced (W3C Trace Context).'),
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
    summary: 'Read what has happened, in order',
    description:
      'Behind a cursor every committed event appears exactly once, and nothing that did not happen. Events are kept for a while (72 hours, unless the operator has changed that). Where there are none, the call waits up to `wait_s` for the first. With `Accept: text/event-stream` the answer is a stream of server-sent events that goes on, each with its `cursor` as id, so `EventSource` resumes by itself (`Last-Event-ID`).',
    params: {},
    query: z.strictObject({
      after: z
        .string()
        .regex(/^[\w.-]{1,8000}$/, CURSOR)
        .optional()
        .describe(
          'The `next` of the answer before, or the `cursor` of an event. Without it reading begins with the oldest event that is kept, with `latest` behind the last one.',
        ),
      limit: whole(1, 1000).default(100).describe('The maximum number of events in an answer.'),
      wait_s: whole(0, WAIT_MAX_S).default(0).describe('How long to wait for the first event.'),
      type: z
        .string()
        .regex(new RegExp(`^(?:${ONE_TYPE})(?:,(?:${ONE_TYPE}))*$`), TYPES)
        .optional()
        .describe('Only events of these types, separated by commas.'),
      order_id: order_id.optional().describe('Only events of this order.'),
      user_id: user_id.optional().describe('Only events of this user and its orders.'),
      item_id: item_id.optional().describe('Only events of this item and of orders with it.'),
    }),
    answer: z.strictObject({
      data: z.array(event).describe('The events, the oldest first.'),
      next: cursor.describe('The `after` of the next call, even if there are no events yet.'),
    }),
    refusals: ['cursor_expired'],
    writes: false,
  },
});
