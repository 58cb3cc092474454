/** GET /v1/events: what has happened, as pages or as a stream. The order service serves it. */
import { Hono } from 'hono';
import type { Event } from '../../db/command.ts';
import { type Cursor, formatCursor, parseCursor } from '../../db/reads/cursor.ts';
import type { Store } from '../../db/store.ts';
import { eventCalls as calls, EVENT_TYPES, wrongCursor } from '../contract/v1/events.ts';
import type { Env } from '../http/exchange.ts';
import { stillHolds } from '../http/guard.ts';
import { RequestError } from '../http/problem.ts';
import { wrongParameters } from '../http/query.ts';
import { on } from '../http/route.ts';
import { eventOf } from './show.ts';
import { streamEvents } from './stream.ts';

export function eventRoutes(store: Store): Hono<Env> {
  const app = new Hono<Env>();

  on(app, calls.list, async (c, _, { after, limit, wait_s, ...filter }) => {
    const gone = new AbortController();
    c.env.whenGone?.(() => gone.abort());
    const matches = matching(filter);
    const streams = acceptsStream(c.req.header('accept') ?? '');
    const resumed = streams ? c.req.header('last-event-id') : undefined;
    const from = await cursorIn(store, resumed || after);
    if (streams) return streamEvents(c, store, from, matches, gone);
    const principal = c.env.principal?.name;
    const wanted = { limit, matches, principal, wait_ms: 1000 * wait_s, signal: gone.signal };
    const leave = wait_s > 0 ? store.events.join(principal) : () => {};
    const holds = stillHolds(c);
    const read = await store.events.read(from, wanted).finally(leave);
    if (!(await holds())) throw new RequestError('unauthenticated', ENDED);
    return c.json({ data: read.events.map(eventOf), next: formatCursor(read.cursor) });
  });
  return app;
}

const ENDED = 'the credentials were revoked, or have expired, while the call waited';

const acceptsStream = (accept: string): boolean =>
  accept.split(',').some((part) => {
    const [type = '', ...parameters] = part.split(';').map((one) => one.trim().toLowerCase());
    return type === 'text/event-stream' && !parameters.some((one) => /^q=0(\.0*)?$/.test(one));
  });

/** @throws Failure invalid_parameter */
async function cursorIn(store: Store, after: string | undefined): Promise<Cursor> {
  if (after === undefined) return store.events.oldest();
  if (after === 'latest') return store.events.latest();
  const cursor = parseCursor(after);
  if (!cursor) throw wrongParameters([wrongCursor]);
  return cursor;
}

interface Filter {
  type?: string | undefined;
  order_id?: string | undefined;
  user_id?: string | undefined;
  item_id?: string | undefined;
}

function matching({ type, order_id, user_id, item_id }: Filter): (event: Event) => boolean {
  const types = new Set<string>(type?.split(',') ?? EVENT_TYPES);
  const ofItem = ({ item_id: own, lines = [] }: Event) =>
    own === item_id || (lines as { item_id: string }[]).some((line) => line.item_id === item_id);
  return (event) =>
    types.has(event.type) &&
    (order_id === undefined || event.order_id === order_id) &&
    (user_id === undefined || event.user_id === user_id) &&
    (item_id === undefined || ofItem(event));
}
