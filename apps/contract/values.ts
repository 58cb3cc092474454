/** The values of parameters and answers, with their bounds. */
import { z } from 'zod';

const PARAMETER_MAX = 10 ** 12;
const ROWS_MAX = 1_000_000;
/** 2^53 - 1: the upper bound of every balance, stock, quantity and total. */
export const AMOUNT_MAX = Number.MAX_SAFE_INTEGER;

const ID = 'must be 1-64 of the characters A-Z a-z 0-9 _ -';
export const id = z.string(present(ID)).regex(/^[A-Za-z0-9_-]{1,64}$/, ID);
export const user_id = id.describe('The id of a user.');
export const item_id = id.describe('The id of an item.');
export const order_id = id.describe('The id of an order.');
export const refund_id = id.describe('The id of a refund.');
/** In the body of a call that creates something. */
export const newId = id
  .optional()
  .describe('An id of your choice. If you send none, Kassa makes one.');

/** Ids in examples. The docs page replaces them with the ids of earlier answers. */
export const EXAMPLE_IDS = { user_id: 'ada', item_id: 'tea' } as const;

/** A whole number as a segment of a path, or in a query. */
export function whole(low: number, high: number) {
  const error = `must be a whole number from ${low} to ${high}`;
  const digits = z.string().regex(/^[0-9]{1,13}$/, error);
  return digits.transform(Number).pipe(z.int(error).min(low, error).max(high, error));
}

/** A parameter of a path with its meaning, and what the docs page sends if nobody changes it. */
const parameter = (low: 0 | 1, high: number) => (description: string, example: number) =>
  whole(low, high).meta({ description, examples: [example] });
/** What a call adds or takes away. */
export const amount = parameter(1, PARAMETER_MAX);
export const startingValue = parameter(0, PARAMETER_MAX);
/** The rows of a batch_init. */
export const rowCount = parameter(1, ROWS_MAX);
/** What people should know before they send the form of a batch_init. */
export const warning = (rows: string): string =>
  `Warning: this replaces the ${rows} 0 … n-1 of this store; the form on /docs has n = 10, so it replaces 0 to 9.`;

/** A whole number in a JSON body. @param more what it must be beside that */
export function wholeNumber(low: number, high: number, more = '') {
  const range = `must be a whole number from ${low} to ${high}${more}`;
  // The reader of bodies makes NaN of `1.0`, `1e2` and `1.5`: see bodies.ts.
  const error = ({ input }: { input?: unknown }) =>
    Number.isNaN(input)
      ? `${range}, written without a decimal point or an exponent`
      : present(range).error({ input });
  return z.int({ error }).min(low, { error }).max(high, { error });
}

/** What a field must be, for types of zod. A field that is missing is told apart. */
export function present(must_be: string) {
  return {
    error: ({ input }: { input?: unknown }) =>
      input === undefined ? `is missing: ${must_be}` : must_be,
  };
}

/** The same, up to the largest balance. */
export const amountOf = (low: 0 | 1) => wholeNumber(low, AMOUNT_MAX);

/** A time by the store's clock, in UTC. */
export const time = z.iso.datetime();

const REASON = 'must be 1-200 characters, without control characters';
/** Why something was changed, in the caller's words. */
export const reason = z.string(REASON).regex(/^[^\p{C}]{1,200}$/u, REASON);

/** Money in the smallest unit, or a number of units. */
export const balance = z.int().min(0).max(AMOUNT_MAX);
export const quantity = z.int().min(1).max(AMOUNT_MAX);

const [KEYS_MAX, VALUE_MAX] = [50, 500];
const NAME = '1-40 of the characters A-Z a-z 0-9 . _ -';
const KEY = `must be named with ${NAME}`;
const VALUE = `must be text of at most ${VALUE_MAX} characters`;
/** Data of the caller, stored with a row. */
export const metadata = z
  .record(
    z.string().regex(/^[\w.-]{1,40}$/, `must be ${NAME}`),
    z.string(VALUE).max(VALUE_MAX, VALUE),
    {
      error: ({ code }) => (code === 'invalid_key' ? KEY : 'must be a JSON object'),
    },
  )
  .refine((data) => Object.keys(data).length <= KEYS_MAX, `must have at most ${KEYS_MAX} entries`)
  .meta({ maxProperties: KEYS_MAX })
  .describe(
    'Your own data: names with text values. It is set on creation and cannot be changed. Only the create, get and list calls return it.',
  );
