/** Parses the parameters of the path. Inside, their types are trusted. */
import type { Context } from 'hono';
import { Failure } from '../../db/failure.ts';
import type { Exchange } from './exchange.ts';
import { RequestError } from './problem.ts';

const PARAMETER_MAX = 10 ** 12;
const ROWS_MAX = 1_000_000;

/** 1-64 characters from `[A-Za-z0-9_-]`. @throws Failure invalid_parameter, like the others */
export function id(c: Context, name: 'user_id' | 'item_id' | 'order_id'): string {
  const text = c.req.param(name) ?? '';
  if (/^[A-Za-z0-9_-]{1,64}$/.test(text)) return text;
  throw new Failure('invalid_parameter', `${name} must be 1-64 of the characters A-Z a-z 0-9 _ -`);
}

/** 1 … 10^12 */
export const amount = (c: Context, name: 'amount' | 'quantity'): number =>
  integer(c, name, 1, PARAMETER_MAX);

/** 0 … 10^12 */
export const startingValue = (
  c: Context,
  name: 'price' | 'item_price' | 'starting_stock' | 'starting_money',
): number => integer(c, name, 0, PARAMETER_MAX);

/** 1 … 1,000,000 rows of a batch_init */
export const rowCount = (c: Context, name: 'n' | 'n_items' | 'n_users'): number =>
  integer(c, name, 1, ROWS_MAX);

function integer(c: Context, name: string, low: number, high: number): number {
  const text = c.req.param(name) ?? '';
  const value = /^[0-9]{1,13}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= low && value <= high) return value;
  throw new Failure('invalid_parameter', `${name} must be a whole number from ${low} to ${high}`);
}

/**
 * Refuses a body, since its content would be ignored. `{}` and `null` are accepted: some clients
 * send them with every call. @throws RequestError unsupported_body
 */
export function assertNoBody({ body }: Exchange): void {
  if (body === undefined) return;
  const text = new TextDecoder().decode(body).trim();
  if (text === '' || text === 'null' || /^\{\s*\}$/.test(text)) return;
  throw new RequestError('unsupported_body', 'everything is carried in the path: send no body');
}

/** The ids of a batch_init, `from` to `to - 1`, as strings. */
export const idsUpTo = (from: number, to: number): string[] =>
  Array.from({ length: to - from }, (_, i) => String(from + i));
