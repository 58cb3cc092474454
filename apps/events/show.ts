/** Events, as /v1 shows them. */
import { timeOf } from '../../db/command.ts';
import { formatCursor } from '../../db/reads/cursor.ts';
import type { LoggedEvent } from '../../db/reads/events.ts';

export { formatCursor as nextOf } from '../../db/reads/cursor.ts';

export function eventOf({ id, event, cursor }: LoggedEvent) {
  const { type, at, request_id, ...data } = event;
  if (typeof data.held_until === 'number') {
    data.held_until = new Date(1000 * data.held_until).toISOString();
  }
  return { id, type, created_at: timeOf(at), request_id, cursor: formatCursor(cursor), data };
}
