/** Staggered connection racing ("happy eyeballs"). */

/**
 * Starts the first attempt, and the next one as soon as one has failed or nothing has arrived for
 * `stagger_ms`; earlier attempts keep running. The first success wins.
 * https://www.rfc-editor.org/rfc/rfc8305 does this with the addresses of a host.
 * @param drop called with each result that arrives later
 * @throws AggregateError with the error of each attempt, in order, if all have failed
 */
export function firstOf<T>(
  attempts: readonly (() => Promise<T>)[],
  stagger_ms: number,
  drop: (late: T) => void,
): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  let [started, won] = [0, false];
  const errors = new Map<number, unknown>();
  let timer: ReturnType<typeof setTimeout> | undefined;

  const startNext = () => {
    clearTimeout(timer);
    const at = started++;
    const attempt = attempts[at];
    if (!attempt) return;
    timer = setTimeout(startNext, stagger_ms);
    attempt().then(
      (result) => {
        if (won) return drop(result);
        won = true;
        clearTimeout(timer);
        started = attempts.length;
        resolve(result);
      },
      (error) => {
        errors.set(at, error);
        if (errors.size === attempts.length)
          reject(new AggregateError(attempts.map((_, i) => errors.get(i))));
        if (!won) startNext();
      },
    );
  };
  startNext();
  return promise;
}
