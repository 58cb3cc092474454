/** The answer that goes on: server-sent events. https://html.spec.whatwg.org/multipage/server-sent-events.html */
import type { Context } from 'hono';
import { Failure } from '../../db/failure.ts';
import type { Cursor } from '../../db/reads/cursor.ts';
import type { ReadEvents, WantedEvents } from '../../db/reads/events.ts';
import type { Store } from '../../db/store.ts';
import type { Env } from '../http/exchange.ts';
import { eventOf } from './show.ts';

/** A comment is sent after this long without an event: proxies close what is silent for longer. */
const HEARTBEAT_MS = 10_000;
const EVENTS_MAX = 200;
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
  const wanted = { limit: EVENTS_MAX, matches, signal: gone.signal };
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
      return ':\n\n';
    }
  };
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      if (text === '') text = await next().catch(() => '');
      const ends = text === '' || gone.signal.aborted;
      if (!ends) controller.enqueue(encoder.encode(text));
      text = '';
      if (ends || events.released) controller.close();
    },
    cancel: () => gone.abort(),
  });
  // nginx would collect the events in its buffers.
  return c.body(body, 200, { 'content-type': 'text/event-stream', 'x-accel-buffering': 'no' });
}

/** A comment, if there are none. */
const textOf = ({ events }: ReadEvents): string =>
  events.map(eventOf).map(messageOf).join('') || ':\n\n';

const messageOf = (event: ReturnType<typeof eventOf>): string =>
  `id: ${event.cursor}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`;
