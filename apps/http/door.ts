/** What stands between bytes and routes: a port leads to one. */
import type { Fields } from './message.ts';

/** As much of a `Request` as the routes read. */
export interface Incoming {
  method: string;
  /** Its path and query are the request line's; origin and host mean nothing. */
  url: string;
  headers: Pick<Headers, 'get'> | Fields;
}

/** What a request is answered with: beside what the response says, each one has `FIXED_HEADERS`. */
export interface Outgoing {
  response: Response;
  request_id: string;
  /** The connection ends with it. */
  last: boolean;
}

export interface Door {
  /** A request that is whole. What goes wrong is an answer too. */
  answer(request: Incoming, body: Uint8Array | undefined): Promise<Outgoing>;
  /** What is no request, or never became one. @param seen what could be read of it, if anything */
  refuse(error: unknown, seen: Partial<Refused>): Outgoing;
}

/** Answers are nobody's to keep, to guess the type of, or to show as a page. */
export const FIXED_HEADERS: readonly [name: string, value: string][] = [
  ['cache-control', 'no-store'],
  ['x-content-type-options', 'nosniff'],
  ['content-security-policy', "default-src 'none'; frame-ancestors 'none'"],
];

interface Refused {
  method: string;
  target: string;
  headers: Incoming['headers'] | undefined;
}
