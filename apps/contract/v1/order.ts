/** An order: what callers send of one, what answers show, and what can happen to it. */
import { z } from 'zod';
import {
  amountOf,
  balance,
  item_id,
  metadata,
  order_id,
  present,
  quantity,
  time,
  user_id,
  wholeNumber,
} from '../values.ts';

const LINES_MAX = 1000;

/** What a caller wants: each item once. */
export const wanted = z
  .array(
    z.strictObject({
      item_id: item_id.describe('The id of an item. An item may appear in only one line.'),
      quantity: amountOf(1).describe('How many units.'),
    }),
    present('must be a list of lines'),
  )
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
export const ttl_s = wholeNumber(1, HOLD_MAX_S);

export const state = z.enum(['open', 'held', 'paid', 'refunded']);

const fields = {
  id: order_id,
  user_id: user_id.describe('Who pays.'),
  state: state.describe(
    '`open`: its lines can change. `held`: its units are reserved. `paid`: checked out, perhaps refunded in part. `refunded`: the whole total was given back; a free order stays `paid`.',
  ),
  held_until: time.optional().describe('When the hold ends. Present only while the order is held.'),
  lines: z
    .array(
      z.strictObject({
        item_id,
        quantity: quantity.describe('How many units.'),
        unit_price: balance.describe('The price of the item when the line was added.'),
        total: balance.describe('`quantity` times `unit_price`.'),
        refunded: balance.describe('How many of these units have been refunded.'),
      }),
    )
    .describe('One line for each item, sorted by item_id.'),
  total_cost: balance.describe('The sum of the lines.'),
  refunded: balance.describe('The amount refunded so far.'),
  created_at: time
    .optional()
    .describe('When it was created. Missing if that was before Kassa recorded times.'),
  paid_at: time
    .optional()
    .describe(
      'When it was checked out. Missing if it is unpaid, or was paid before Kassa recorded times.',
    ),
};
/** What changes answer: they do not read the metadata. */
export const changedOrder = z.strictObject(fields);
export const order = z.strictObject({ ...fields, metadata: metadata.optional() });

/** The types of the entries of a history. */
export const EVENTS = {
  created: 'The order was created.',
  held: 'Its units were reserved, until `held_until`.',
  released: 'The hold was released. A hold that expires leaves no entry.',
  payment: 'The path call `pay` paid `amount` towards it.',
  paid: 'It was checked out for `amount`.',
  cancelled: 'The path call `cancel` gave back `amount`.',
  refunded: 'A refund gave back `amount` for `lines`. The entry has all fields of the refund.',
} as const;

/** An entry of a history, with further fields by its type. */
export const event = z.looseObject({
  at: time
    .optional()
    .describe('When it happened. Missing if that was before Kassa recorded times.'),
  type: z
    .string()
    .describe(
      `${Object.keys(EVENTS).join(', ')}. Ignore types that you do not know: there may be more later.`,
    ),
  principal: z
    .string()
    .optional()
    .describe('Who made the call, where authentication is on. Missing for `created`.'),
});
