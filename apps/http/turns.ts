/** Requests that have arrived at once are served a few at a time. */

/**
 * So many that a turn costs little, and so few that it ends soon: an answer of the store that
 * arrives during a burst of requests is handled before the rest of them, and the store does not
 * wait for what to do next.
 */
const AT_ONCE = 16;

const waiting: (() => void)[] = [];

/** Calls `serve` behind those that wait already, and behind the events that have arrived by now. */
export function takeTurn(serve: () => void): void {
  if (waiting.push(serve) === 1) setImmediate(serveSome);
}

function serveSome(): void {
  for (const serve of waiting.slice(0, AT_ONCE)) serve();
  waiting.splice(0, AT_ONCE);
  if (waiting.length > 0) setImmediate(serveSome);
}
