/** An entry of a statement: a change of a credit or of a stock. */
import { z } from 'zod';
import { AMOUNT_MAX, id, time } from '../values.ts';

const change = z.int().min(-AMOUNT_MAX).max(AMOUNT_MAX);

export const movement = z.strictObject({
  at: time.optional(),
  amount: change.describe('What was added; below 0, what was taken.'),
  reason: z.string(),
  order_id: id.optional(),
  balance: change
    .optional()
    .describe('The credit, or the stock, after it; left out beyond the largest amount.'),
});

export const ADDS_UP = `The first balance is the current one; each is the balance of the next entry plus the amount. Checkouts
from before Kassa recorded their times come last, without at; balances before them may be below 0.`;
