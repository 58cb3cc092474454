/** The interface of workloads: the bytes of each call, and the meaning of its answer. */

export type CallKind = 'read' | 'write' | 'checkout';

/** One object for each connection, reused for each call. */
export interface Call {
  /** The whole request, as sent. */
  request: string;
  kind: CallKind;
  /** The index of the order that is checked out. */
  order: number;
  /** The session of a scenario, or -1. */
  session: number;
  /** The workload reads the body of the answer. */
  wanted: boolean;
}

export const newCall = (): Call => ({
  request: '',
  kind: 'read',
  order: -1,
  session: -1,
  wanted: false,
});

/** Ids of existing rows. */
export interface Ids {
  count: number;
  id(i: number): string;
  /** Adjacent ids are adjacent in the store too. */
  close: boolean;
}

export interface Rows {
  orders: Ids;
  users: Ids;
  items: Ids;
}

/** What a 2xx counts as. */
export type Done = 'committed' | 'repeated' | 'read';

export interface Workload {
  /** Fills in the next call. @returns false if there is none */
  next(call: Call): boolean;
  /**
   * Handles an answer; status 0 for none.
   * @returns what a 2xx counts as; `goes_on` does not count, since the next call of this connection
   * continues the same purchase
   */
  answered(call: Call, status: number, body: string): Done | 'goes_on';
}

/** Builds requests. */
export interface Requests {
  get(path: string): string;
  post(path: string): string;
  remove(path: string): string;
  /** A POST of a JSON object. */
  send(path: string, json: string): string;
}

/**
 * @param host the `host` header
 * @param prefix of every path, such as '' or '/shop'
 * @param key shown with each call
 */
export function requests(host: string, prefix: string, key?: string): Requests {
  const shown = key === undefined ? '' : `authorization: Bearer ${key}\r\n`;
  const head = ` HTTP/1.1\r\nhost: ${host}\r\n${shown}`;
  const bare = `${head}\r\n`;
  const empty = `${head}content-length: 0\r\n\r\n`;
  return {
    get: (path) => `GET ${prefix}${path}${bare}`,
    post: (path) => `POST ${prefix}${path}${empty}`,
    remove: (path) => `DELETE ${prefix}${path}${empty}`,
    send: (path, json) =>
      `POST ${prefix}${path}${head}content-type: application/json\r\ncontent-length: ${json.length}\r\n\r\n${json}`,
  };
}
