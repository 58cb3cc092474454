/** The pages of lists. A cursor is a position in one list, and opaque to clients. */
import { Buffer } from 'node:buffer';
import type { Context } from 'hono';
import { timeOf } from '../../db/command.ts';
import type { Page, Position, Wanted } from '../../db/reads/page.ts';
import type { Movement } from '../../db/reads/statements.ts';
import { wrongCursor } from '../contract/pages.ts';
import type { Env } from './exchange.ts';
import { wrongParameters } from './query.ts';

/**
 * Answers a page.
 * @param list its name: the cursor of another list is refused
 * @param start the position before the first entry
 */
export async function answerPage<Row, P extends Position>(
  c: Context<Env>,
  { limit, after }: { limit: number; after?: string | undefined },
  { list, start }: { list: string; start: P },
  read: (wanted: Wanted<P>) => Promise<Page<Row, P>>,
  show: (row: Row) => unknown,
): Promise<Response> {
  const position = after === undefined ? start : positionIn(after, list, start);
  const { name: principal, user_id: only_user } = c.env.principal ?? {};
  const { rows, next } = await read({ limit, after: position, principal, only_user });
  return c.json({
    data: rows.map(show),
    has_more: next !== undefined,
    ...(next && { next: cursorOf(list, next) }),
  });
}

/** Parses metadata, which the store has as the text of a JSON object. */
export const metadataIn = ({ metadata }: { metadata: string | null }) =>
  metadata === null ? undefined : (JSON.parse(metadata) as Record<string, string>);

/** An entry of a statement, as /v1 shows it. */
export const movementOf = ({ at, amount, reason, order_id, principal, balance }: Movement) => ({
  ...(at > 0 && { at: timeOf(at) }),
  amount,
  reason,
  ...(order_id !== null && { order_id }),
  ...(principal !== null && { principal }),
  ...(balance !== null && { balance }),
});

/** The position before the first entry of a list by id. */
export const BY_ID: readonly [string] = [''];
/** The same of lists by time and id: the newest first, and the oldest first. */
export const NEWEST_FIRST: readonly [number, string] = [Number.MAX_SAFE_INTEGER, ''];
export const OLDEST_FIRST: readonly [number, string] = [-1, ''];

export const cursorOf = (list: string, position: Position): string =>
  Buffer.from(JSON.stringify([list, ...position])).toString('base64url');

/** @throws Failure invalid_parameter for a cursor that this list has not given */
export function positionIn<P extends Position>(after: string, list: string, start: P): P {
  const [, ...position] = partsOf(after);
  const fits = (part: unknown, i: number) =>
    typeof part === typeof start[i] &&
    (typeof part === 'string' ? /^[\w~-]{0,101}$/.test(part) : Number.isSafeInteger(part));
  const is_position = position.length === start.length && position.every(fits);
  const is_ours = is_position && cursorOf(list, position as unknown as P) === after;
  if (!is_ours) throw wrongParameters([wrongCursor]);
  return position as unknown as P;
}

function partsOf(after: string): unknown[] {
  try {
    const parts = JSON.parse(Buffer.from(after, 'base64url').toString());
    return Array.isArray(parts) ? parts : [];
  } catch {
    return [];
  }
}
