/** The values of parameters and answers, with their bounds. */
import { z } from 'zod';

const PARAMETER_MAX = 10 ** 12;
const ROWS_MAX = 1_000_000;
/** 2^53 - 1: the upper bound of every balance, stock, quantity and total. */
export const AMOUNT_MAX = Number.MAX_SAFE_INTEGER;

const ID = 'must be 1-64 of the characters A-Z a-z 0-9 _ -';
export const id = z.string(ID).regex(/^[A-Za-z0-9_-]{1,64}$/, ID);

/** A whole number as a segment of a path, or in a query. */
export function whole(low: number, high: number) {
  const error = `must be a whole number from ${low} to ${high}`;
  const digits = z.string().regex(/^[0-9]{1,13}$/, error);
  return digits.transform(Number).pipe(z.int(error).min(low, error).max(high, error));
}

/** What a call adds or takes away. */
export const amount = whole(1, PARAMETER_MAX);
export const startingValue = whole(0, PARAMETER_MAX);
/** The rows of a batch_init. */
export const rowCount = whole(1, ROWS_MAX);

/** A whole number in a JSON body, up to the largest balance. */
export function amountOf(low: 0 | 1) {
  const error = `must be a whole number from ${low} to ${AMOUNT_MAX}`;
  return z.int(error).min(low, error).max(AMOUNT_MAX, error);
}

/** How long something is held, in seconds. */
export function seconds(high: number) {
  const error = `must be a whole number from 1 to ${high}`;
  return z.int(error).min(1, error).max(high, error);
}

/** A time by the store's clock, in UTC. */
export const time = z.iso.datetime();

const REASON = 'must be 1-200 characters, without control characters';
/** Why something was changed: for people, and kept with the movement. */
export const reason = z.string(REASON).regex(/^[^\p{C}]{1,200}$/u, REASON);

/** Money in the smallest unit, or a number of units. */
export const balance = z.int().min(0).max(AMOUNT_MAX);
export const quantity = z.int().min(1).max(AMOUNT_MAX);

const [KEYS_MAX, VALUE_MAX] = [50, 500];
const KEY = 'must be named by 1-40 of the characters A-Z a-z 0-9 . _ -';
const VALUE = `must be text of at most ${VALUE_MAX} characters`;
/** Data of the caller, stored with a row. */
export const metadata = z
  .record(z.string().regex(/^[\w.-]{1,40}$/), z.string(VALUE).max(VALUE_MAX, VALUE), {
    error: ({ code }) => (code === 'invalid_key' ? KEY : 'must be a JSON object'),
  })
  .refine((data) => Object.keys(data).length <= KEYS_MAX, `must have at most ${KEYS_MAX} entries`)
  .meta({ maxProperties: KEYS_MAX })
  .describe('Data of the caller, which creates, reads and lists show.');
