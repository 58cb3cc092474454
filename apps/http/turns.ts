/** Requests that have arrived at once are served a few at a time. */

/**
 * Enough that a turn costs little, and few enough that it ends soon: an answer of the store that
 * arrives during a burst is handled before the rest of the burst, so the store does not wait.
 */
export const AT_ONCE = 16;
/** For requests that will also wait for their caller's turn (call-turns.ts): reading one is cheap. */
const READ_AT_ONCE = 4 * AT_ONCE;
/** A turn begins no further request after this long: those of large bodies take milliseconds. */
const TURN_MS = 3;

/** One queue for the process, as it has one event loop. */
const waiting: { serve(): void; part: number }[] = [];
let is_scheduled = false;

/**
 * Calls `serve` behind those that wait already, and behind the events that have arrived by now.
 * @param waits_again the request waits once more, for its caller's turn
 */
export function takeTurn(serve: () => void, waits_again = false): void {
  waiting.push({ serve, part: 1 / (waits_again ? READ_AT_ONCE : AT_ONCE) });
  schedule();
}

function schedule(): void {
  if (is_scheduled || waiting.length === 0) return;
  is_scheduled = true;
  setImmediate(serveSome);
}

function serveSome(): void {
  is_scheduled = false;
  const end_at = performance.now() + TURN_MS;
  try {
    for (let left = 1; left > 0 && performance.now() < end_at; ) {
      const next = waiting.shift();
      if (!next) break;
      left -= next.part;
      next.serve();
    }
  } finally {
    schedule();
  }
}
