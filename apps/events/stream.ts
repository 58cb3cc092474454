/**
 * The answer that goes on: server-sent events.
 * https://html.spec.whatwg.org/multipage/server-sent-events.html
 */
import { setImmediate } from 'node:timers';
import type { Context } from 'hono';
import { Failure } from '../../db/failure.ts';
import { type Cursor, formatCursor } from '../../db/reads/cursor.ts';
import { isBusy, type ReadEvents, type WantedEvents } from '../../db/reads/events.ts';
import type { Store } from '../../db/store.ts';
import type { Env } from '../http/exchange.ts';
import { stillHolds } from '../http/guard.ts';
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

/**
 * The stream ends when the service stops, and when the credentials are no longer valid. The client
 * then connects again, and resumes if it may.
 * @param gone aborted when the client leaves, before the stream or during it
 */
export async function streamEvents(
  c: Context<Env>,
  { events }: Pick<Store, 'events'>,
  from: Cursor,
  matches: WantedEvents['matches'],
  gone: AbortController,
): Promise<Response> {
  const encoder = new TextEncoder();
  const { signal } = gone;
  const principal = c.env.principal?.name;
  const wanted = { limit: EVENTS_MAX, bytes_max: PART_MAX_BYTES, matches, principal, signal };
  let cursor = from;
  /** Keeps nothing of what was read but the cursor, however long the client takes. */
  const readOn = async (wait_ms: number): Promise<string> => {
    const read = await events.read(cursor, { ...wanted, wait_ms });
    if (read.events.length > 0) await myTurn();
    cursor = read.cursor;
    return textOf(read);
  };
  const next = (): Promise<string> =>
    readOn(HEARTBEAT_MS).catch(async (error) => {
      if (error instanceof Failure && error.code === 'cursor_expired') throw error;
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
      return textOf({ events: [], cursor });
    });
  const holds = stillHolds(c);
  const leave = events.join(principal);
  signal.addEventListener('abort', leave);
  await myTurn();
  // Before the head is sent, so that an expired cursor is a 410, which ends EventSource. A busy
  // moment would end it too, so the stream begins without events then.
  let text = await readOn(0).catch((error) => {
    if (isBusy(error)) return textOf({ events: [], cursor });
    leave();
    throw error;
  });
  text = `retry: ${RETRY_MS}\n\n${text}`;
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        if (text === '') text = await next().catch(() => '');
        if (!(await holds())) text = '';
        if (signal.aborted) return;
        if (text !== '') controller.enqueue(encoder.encode(text));
        if (text === '' || events.released) {
          leave();
          controller.close();
        }
        text = '';
      },
      cancel() {
        gone.abort();
        leave(); // it may have been aborted before it was listened to
      },
    },
    { highWaterMark: 0 }, // nothing is read ahead of the client
  );
  // nginx would collect the events in its buffers.
  return c.body(body, 200, { 'content-type': 'text/event-stream', 'x-accel-buffering': 'no' });
}

const waiting: (() => void)[] = [];

/** One part in each turn of the event loop: thousands of streams must not keep other calls waiting. */
const myTurn = (): Promise<void> =>
  new Promise((resolve) => {
    waiting.push(resolve);
    if (waiting.length === 1) setImmediate(nextTurn);
  });

function nextTurn(): void {
  waiting.shift()?.();
  if (waiting.length > 0) setImmediate(nextTurn);
}

/** An id without data is no event, but the client resumes there: filters may leave out all others. */
const textOf = ({ events, cursor }: ReadEvents): string =>
  `${events.map(eventOf).map(messageOf).join('')}id: ${formatCursor(cursor)}\n\n`;

const messageOf = (event: ReturnType<typeof eventOf>): string =>
  `id: ${event.cursor}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`;
