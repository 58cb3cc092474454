/** An entry of a statement: a change of a credit or of a stock. */
import { z } from 'zod';
import { AMOUNT_MAX, order_id, time } from '../values.ts';

/** The reasons of Kassa's own, by which a movement is told apart if it has an `order_id`. */
export const ORDER_REASONS = {
  checkout:
    'An order was checked out: its total left the credit (an `amount` of 0 if it was free), its units left the stock.',
  refund: 'A refund returned money or units.',
  pay: 'The path call `pay` was made towards an order.',
  cancel: 'The path call `cancel` gave back a payment, or undid a checkout.',
  payment_taken_in:
    'At checkout, an earlier payment was credited back, and the whole total was charged.',
  batch_init: 'A load test replaced the order.',
} as const;

/** Those of other changes, whose caller gave no reason. */
export const OTHER_REASONS = {
  opening: 'The credit or the stock on creation.',
  deposit: 'A deposit.',
  withdrawal: 'A withdrawal.',
  add: 'Stock was added.',
  subtract: 'Stock was taken away.',
  add_funds: 'The path call `add_funds`.',
  pay: 'The path call `pay`, without an order.',
  batch_init: 'A load test reset the user or the item, or replaced an order.',
} as const;

export const WHOSE_REASON = `Only a movement that an order caused has an \`order_id\`, and its \`reason\` is always one of
Kassa's own. Without an \`order_id\` the \`reason\` is the text that the caller sent, or one of Kassa's if the caller
sent none. So a deposit with the reason \`checkout\` is allowed, and is no checkout: it has no \`order_id\`.`;

const change = z.int().min(-AMOUNT_MAX).max(AMOUNT_MAX);

export const movement = z
  .strictObject({
    at: time
      .optional()
      .describe('When it happened. Missing if that was before Kassa recorded times.'),
    amount: change.describe('What was added; negative if it was taken away.'),
    reason: z
      .string()
      .describe(
        `With an order_id: ${Object.keys(ORDER_REASONS).join(', ')}. Otherwise the caller's reason, or one of Kassa's own.`,
      ),
    order_id: order_id.optional().describe('The order that caused it. Missing if none did.'),
    balance: change
      .optional()
      .describe('The credit or the stock after it. Missing if it exceeds the largest amount.'),
  })
  // Checked in the tests only: services do not parse what they send.
  .refine(({ order_id, reason }) => order_id === undefined || reason in ORDER_REASONS);

export const ADDS_UP = `The first entry has the current balance. An entry's balance is the balance of the entry below it plus its
own amount. Checkouts from before Kassa recorded times come last and have no at; balances before them may be negative.`;
