/** The entries of a list, page by page, and events, which have no last page. */
import { KassaError } from './error.ts';

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

/** Below the time that a client gives an attempt. */
const WAIT_S = 10;
/** Before the next attempt: a service that stops may answer at once. */
const [EMPTY_MS, FAILED_MS] = [100, 1000];

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Events for as long as somebody asks for the next one. It outlasts every outage; a `KassaError`
 * says that the call can never succeed, or that its signal has aborted it.
 * @param send reads what follows a cursor
 */
export const everyEvent = <Options>(
  send: (given: Record<string, unknown>, options?: Options) => Promise<unknown>,
) =>
  async function* (given: Record<string, unknown> = {}, options?: Options) {
    for (let { after } = given; ; ) {
      try {
        const read = (await send({ wait_s: WAIT_S, ...given, after }, options)) as Required<Page>;
        yield* read.data;
        after = read.next;
        if (read.data.length === 0) await pause(EMPTY_MS);
      } catch (error) {
        if (!(error instanceof KassaError) || isFinal(error)) throw error;
        await pause(FAILED_MS);
      }
    }
  };

/** No later attempt can succeed. The client has repeated the others until its deadline. */
const isFinal = ({ code, status = 503 }: KassaError): boolean =>
  code === 'aborted' || (status < 500 && status !== 408 && status !== 429);
