/** Requests that have arrived at once are served a few at a time. */

/**
 * Enough that a turn costs little, and few enough that it ends soon: an answer of the store that
 * arrives during a burst is handled before the rest of the burst, so the store does not wait.
 */
const AT_ONCE = 16;
/** A turn begins no further request after this long: those of large bodies take milliseconds. */
const TURN_MS = 3;

/** One queue for the process, as it has one event loop. */
const waiting: (() => void)[] = [];
let is_scheduled = false;

/** Calls `serve` behind those that wait already, and behind the events that have arrived by now. */
export function takeTurn(serve: () => void): void {
  waiting.push(serve);
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
    for (let served = 0; served < AT_ONCE && performance.now() < end_at; served++) {
      waiting.shift()?.();
    }
  } finally {
    schedule();
  }
}
