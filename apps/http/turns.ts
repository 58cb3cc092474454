/** Requests that have arrived at once are served a few at a time. */

/**
 * Enough that a turn costs little, and few enough that it ends soon: an answer of the store that
 * arrives during a burst is handled before the rest of the burst, so the store does not wait.
 */
const AT_ONCE = 16;

/** One queue for the process, as it has one event loop. */
const waiting: (() => void)[] = [];

/** Calls `serve` behind those that wait already, and behind the events that have arrived by now. */
export function takeTurn(serve: () => void): void {
  if (waiting.push(serve) === 1) setImmediate(serveSome);
}

function serveSome(): void {
  const served = waiting.splice(0, AT_ONCE);
  if (waiting.length > 0) setImmediate(serveSome);
  for (const serve of served) serve();
}
