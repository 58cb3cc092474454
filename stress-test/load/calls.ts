/** What a workload gives to a connection: the bytes of a call, and what its answer means. */

export type CallKind = 'read' | 'write' | 'checkout';

/** One object for each connection, filled again for each call. */
export interface Call {
  /** The whole request as it goes over the wire. */
  request: string;
  kind: CallKind;
  /** Which of the workload's orders a checkout is for. */
  order: number;
  /** Whose turn it is in a scenario: the session, or -1. */
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

export interface Workload {
  /** Fills in the next call. False if nothing is left to do. */
  next(call: Call): boolean;
  /** The answer of a call; status 0 if none came. @returns what a 2xx of it counts as */
  answered(call: Call, status: number, body: string): 'committed' | 'repeated' | 'read';
}

/** Builds the text of requests without bodies. */
export interface Requests {
  get(path: string): string;
  post(path: string): string;
  remove(path: string): string;
}

/** @param host of the `host` header @param prefix before every path, such as '' or '/shop' */
export function requests(host: string, prefix: string): Requests {
  const bare = ` HTTP/1.1\r\nhost: ${host}\r\n\r\n`;
  const empty = ` HTTP/1.1\r\nhost: ${host}\r\ncontent-length: 0\r\n\r\n`;
  return {
    get: (path) => `GET ${prefix}${path}${bare}`,
    post: (path) => `POST ${prefix}${path}${empty}`,
    remove: (path) => `DELETE ${prefix}${path}${empty}`,
  };
}
