/** Several ways to the same thing, of which some may be silent. */

/**
 * Begins with the first way, and with the next as soon as one has failed or nothing has come for
 * `stagger_ms`; those before are still waited for. The first to arrive wins.
 * https://www.rfc-editor.org/rfc/rfc8305 does so with the addresses of a host.
 * @param drop is given what arrives later
 * @throws AggregateError of every way's error, in their order, if all have failed
 */
export function firstOf<T>(
  ways: readonly (() => Promise<T>)[],
  stagger_ms: number,
  drop: (late: T) => void,
): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  let [begun, won] = [0, false];
  const errors = new Map<number, unknown>();
  let timer: ReturnType<typeof setTimeout> | undefined;

  const begin = () => {
    clearTimeout(timer);
    const at = begun++;
    const way = ways[at];
    if (!way) return;
    timer = setTimeout(begin, stagger_ms);
    way().then(
      (arrived) => {
        if (won) return drop(arrived);
        won = true;
        clearTimeout(timer);
        begun = ways.length;
        resolve(arrived);
      },
      (error) => {
        errors.set(at, error);
        if (errors.size === ways.length)
          reject(new AggregateError(ways.map((_, i) => errors.get(i))));
        if (!won) begin();
      },
    );
  };
  begin();
  return promise;
}
