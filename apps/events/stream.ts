/** The answer that goes on: server-sent events. https://html.spec.whatwg.org/multipage/server-sent-events.html */
import type { Context } from 'hono';
import { Failure } from '../../db/failure.ts';
import { type Cursor, formatCursor } from '../../db/reads/cursor.ts';
import type { ReadEvents, WantedEvents } from '../../db/reads/events.ts';
import type { Store } from '../../db/store.ts';
import type { Env } from '../http/exchange.ts';
import { eventOf } from './show.ts';

/** Something is sent after this long without an event: proxies close what is silent for longer. */
const HEARTBEAT_MS = 10_000;
const EVENTS_MAX = 200;
/** What a client that does not read keeps in memory. */
const PART_MAX_BYTES = 64 * 1024;
/** While the store is away. */
const AGAIN_MS = 1000;
/** For the client, before it connects again. */
const RETRY_MS = 1000;

/** The stream ends when the service stops; the client then connects again, and resumes. */
export async function streamEvents(
  c: Context<Env>,
  { events }: Pick<Store, 'events'>,
  from: Cursor,
  matches: WantedEvents['matches'],
): Promise<Response> {
  const gone = new AbortController();
  const encoder = new TextEncoder();
  const { signal } = gone;
  const wanted = { limit: EVENTS_MAX, bytes_max: PART_MAX_BYTES, matches, signal };
  // Before the head is sent, so that an expired cursor is a 410, which ends EventSource.
  let read = await events.read(from, { ...wanted, wait_ms: 0 });
  let text = `retry: ${RETRY_MS}\n\n${textOf(read)}`;
  const next = async (): Promise<string> => {
    try {
      read = await events.read(read.cursor, { ...wanted, wait_ms: HEARTBEAT_MS });
      return textOf(read);
    } catch (error) {
      if (error instanceof Failure && error.code === 'cursor_expired') throw error;
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
      return textOf({ events: [], cursor: read.cursor });
    }
  };
  const leave = events.join();
  signal.addEventListener('abort', leave);
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        if (text === '') text = await next().catch(() => '');
        if (signal.aborted) return;
        if (text !== '') controller.enqueue(encoder.encode(text));
        if (text === '' || events.released) {
          leave();
          controller.close();
        }
        text = '';
      },
      cancel: () => gone.abort(),
    },
    { highWaterMark: 0 }, // nothing is read ahead of the client
  );
  // nginx would collect the events in its buffers.
  return c.body(body, 200, { 'content-type': 'text/event-stream', 'x-accel-buffering': 'no' });
}

/** An id without data is no event, but the client resumes there: filters may leave out all others. */
const textOf = ({ events, cursor }: ReadEvents): string =>
  `${events.map(eventOf).map(messageOf).join('')}id: ${formatCursor(cursor)}\n\n`;

const messageOf = (event: ReturnType<typeof eventOf>): string =>
  `id: ${event.cursor}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`;
