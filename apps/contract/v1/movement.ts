/** An entry of a statement: a change of a credit or of a stock. */
import { z } from 'zod';
import { AMOUNT_MAX, order_id, time } from '../values.ts';

/** The reasons of Kassa's own, by which a movement is told apart if it has an `order_id`. */
export const ORDER_REASONS = {
  checkout:
    'An order was checked out: its total left the credit (`amount` is 0 if it was free), and its units left the stock.',
  refund: 'A refund returned money or units.',
  pay: 'The path call `pay` paid towards an order.',
  cancel: 'The path call `cancel` gave back a payment, or undid a checkout.',
  payment_taken_in:
    'At checkout, an earlier payment was credited back, and the whole total was charged.',
  batch_init: 'A load test replaced the order.',
} as const;

/** Those of other changes, whose caller gave no reason. */
export const OTHER_REASONS = {
  opening: 'The initial credit or stock.',
  deposit: 'A deposit.',
  withdrawal: 'A withdrawal.',
  add: 'Stock was added.',
  subtract: 'Stock was taken away.',
  add_funds: 'The path call `add_funds` added credit.',
  pay: 'The path call `pay` took credit, without an order.',
  batch_init: 'A load test reset the user or the item, or replaced an order.',
} as const;

export const WHOSE_REASON = `A movement caused by an order has an \`order_id\`, and its \`reason\` is always one of
Kassa's own. A movement without an \`order_id\` has the caller's text as its \`reason\`, or one of Kassa's own if the
caller sent none. So a deposit whose reason is \`checkout\` is not a checkout: it has no \`order_id\`.`;

const change = z.int().min(-AMOUNT_MAX).max(AMOUNT_MAX);

export const movement = z
  .strictObject({
    at: time
      .optional()
      .describe('When it happened. Missing if that was before Kassa recorded times.'),
    amount: change.describe('What was added; negative if something was taken away.'),
    reason: z
      .string()
      .describe(
        `With an order_id: ${Object.keys(ORDER_REASONS).join(', ')}. Otherwise the caller's text, or one of Kassa's own: see "Reasons in statements" on /docs.`,
      ),
    order_id: order_id.optional().describe('The order that caused it, if one did.'),
    principal: z.string().optional().describe('Who made the call, where authentication is on.'),
    balance: change
      .optional()
      .describe(
        'The credit or stock after this movement. Missing if it exceeds the largest amount.',
      ),
  })
  // Checked in the tests only: services do not parse what they send.
  .refine(({ order_id, reason }) => order_id === undefined || reason in ORDER_REASONS);

export const ADDS_UP = `The first entry has the current balance. Each balance is the balance of the next (older) entry plus the entry's own
amount. Checkouts from before Kassa recorded times come last and have no \`at\`; balances before them may be negative.`;
