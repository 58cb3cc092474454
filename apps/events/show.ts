/** Events, as /v1 shows them. */
import { timeOf } from '../../db/command.ts';
import { formatCursor } from '../../db/reads/cursor.ts';
import type { LoggedEvent } from '../../db/reads/events.ts';

export function eventOf({ id, event, cursor }: LoggedEvent) {
  const { type, at, request_id, principal, traceparent, ...data } = event;
  // As in the answers of orders.
  if (Array.isArray(data.lines)) data.lines = data.lines.toSorted(byItem);
  if (typeof data.held_until === 'number') {
    data.held_until = new Date(1000 * data.held_until).toISOString();
  }
  const asked_by = {
    request_id,
    ...(principal !== undefined && { principal }),
    ...(traceparent && { traceparent }),
  };
  return { id, type, created_at: timeOf(at), ...asked_by, cursor: formatCursor(cursor), data };
}

const byItem = (a: { item_id: string }, b: { item_id: string }) => (a.item_id < b.item_id ? -1 : 1);
