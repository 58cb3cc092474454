/** GET /console/frames: a frame a second, as server-sent events. All who watch share one gatherer. */
import { Hono } from 'hono';
import { Failure } from '../../db/failure.ts';
import type { Env } from '../http/exchange.ts';
import { stillHolds } from '../http/guard.ts';
import type { Frame } from './frame.ts';
import type { Gatherer } from './gather.ts';

const WATCHERS_MAX = 100;
/** For a browser, before it connects again. */
const RETRY_MS = 2000;

export function frameRoutes(gatherer: Pick<Gatherer, 'watch'>): Hono<Env> {
  const app = new Hono<Env>();
  let watchers = 0;

  app.get('/console/frames', (c) => {
    if (watchers >= WATCHERS_MAX) throw new Failure('overloaded', 'too many watch the console');
    watchers++;
    const encoder = new TextEncoder();
    let unwatch = () => {};
    const holds = stillHolds(c);
    let gone = false;
    const leave = () => {
      if (gone) return;
      gone = true;
      unwatch();
      watchers--;
    };
    const body = new ReadableStream<Uint8Array>(
      {
        start(controller) {
          controller.enqueue(encoder.encode(`retry: ${RETRY_MS}\n\n`));
          unwatch = gatherer.watch((frame: Frame) => {
            void holds().then((may) => {
              if (may || gone) return;
              leave();
              controller.close();
            });
            if (gone) return;
            // Who does not read gets the frame that is new when it reads again.
            if ((controller.desiredSize ?? 0) <= 0) return;
            controller.enqueue(encoder.encode(`data: ${JSON.stringify(frame)}\n\n`));
          });
        },
        cancel: leave,
      },
      { highWaterMark: 2 },
    );
    return c.body(body, 200, { 'content-type': 'text/event-stream', 'x-accel-buffering': 'no' });
  });
  return app;
}
