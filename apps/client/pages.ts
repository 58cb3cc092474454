/** The entries of a list, page by page. */
interface Page {
  data: readonly unknown[];
  next?: string | undefined;
}

/** Reads each page when its first entry is asked for. */
export type Entries<P> = P extends { data: (infer Entry)[] } ? AsyncGenerator<Entry, void> : never;

/** @param send reads one page */
export const everyEntry = <Options>(
  send: (given: Record<string, unknown>, options?: Options) => Promise<unknown>,
) =>
  async function* (given: Record<string, unknown> = {}, options?: Options) {
    for (let { after } = given; ; ) {
      const { data, next } = (await send({ ...given, after }, options)) as Page;
      yield* data;
      if (next === undefined) return;
      after = next;
    }
  };
