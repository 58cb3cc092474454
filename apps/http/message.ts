/** Parses the head of an HTTP/1.1 request from bytes, and refuses everything ambiguous. */
import type { Buffer } from 'node:buffer';
import { CALLS } from '../contract/calls.ts';
import { RequestError } from './problem.ts';

/** Of the request line and the header fields together; and the number of fields. */
export const HEAD_MAX_BYTES = 16 * 1024;
const FIELDS_MAX = 100;
/** The largest body of most calls of /v1. */
export const BODY_MAX_BYTES = 64 * 1024;

const LARGER = new Map(CALLS.map(({ path, body_max_bytes }) => [path, body_max_bytes]));

/** The largest body of a call to this path. */
export const bodyMaxBytes = (target: string): number =>
  LARGER.get(target.split('?', 1)[0] ?? '') ?? BODY_MAX_BYTES;

/** Within which a request must be complete, from its first byte or the connection's start. */
export const RECEIVE_MS = 12_000;

export interface RequestHead {
  method: string;
  /** Path and query as in the request line: nothing is decoded or resolved. */
  target: string;
  headers: HeaderFields;
  /** The size of the body in bytes, unless it is chunked. */
  length: number | 'chunked';
  /** The client waits for `100 Continue` before it sends the body. */
  expects_continue: boolean;
  /** The connection closes after this request. */
  last: boolean;
  /** The size of the head itself in bytes. */
  size: number;
}

/**
 * @returns undefined if the end of the head has not arrived
 * @throws RequestError if the bytes can never become a valid head
 */
export function readHead(bytes: Buffer): RequestHead | undefined {
  const end = bytes.indexOf('\r\n\r\n');
  if (end === -1 ? bytes.length > HEAD_MAX_BYTES : end + 4 > HEAD_MAX_BYTES) {
    throw new RequestError(
      'head_too_large',
      `URL and headers take at most ${HEAD_MAX_BYTES} bytes`,
    );
  }
  if (end === -1) {
    if (!BEGINNING.test(bytes.toString('latin1', 0, 40))) throw malformed(NO_REQUEST_LINE);
    return undefined;
  }
  const lines = bytes.toString('latin1', 0, end).split('\r\n');
  const line = REQUEST_LINE.exec(lines[0] ?? '');
  if (!line) throw malformedHead(lines, NO_REQUEST_LINE);
  const [, method = '', authority, target = '', version] = line;
  const headers = readFields(lines);
  const is_1_0 = version === '0';
  checkHost(authority, headers.get('host'), is_1_0);
  const options = headers.get('connection');
  return {
    method,
    target,
    headers,
    length: readLength(headers, is_1_0, target),
    expects_continue: !is_1_0 && headers.get('expect')?.toLowerCase() === '100-continue',
    last: is_1_0 || (options !== null && /(?:^|,)[ \t]*close[ \t]*(?:,|$)/i.test(options)),
    size: end + 4,
  };
}

const NO_REQUEST_LINE = 'the first line is not "METHOD /path HTTP/1.1"';
/** How every request line begins, however little of it has arrived. TLS, for one, differs. */
const BEGINNING = /^(?:\r$|[!#$%&'*+.^_`|~\w-]{0,32}(?:$| (?:$|\/|h)))/;

/** A control character anywhere in the head is named first, whichever line was read. */
const malformedHead = (lines: readonly string[], detail: string) =>
  malformed(
    lines.some((line) => INVALID.test(line))
      ? 'a control character, or a line that ends without CRLF'
      : detail,
  );

/** Control characters other than the tab: none is in a line, not even CR or LF. */
const INVALID = /[^\t -~\x80-\xff]/;
const FIELD = /^([!#$%&'*+.^_`|~\w-]+):([\t -~\x80-\xff]*)$/;
const REQUEST_LINE =
  /^([!#$%&'*+.^_`|~\w-]{1,32}) (?:https?:\/\/([^/?#@]*))?(\/[!"$-~]*) HTTP\/1\.([01])$/;

export const malformed = (detail: string): RequestError =>
  new RequestError('malformed_request', detail);

/** Header fields by name in lower case, with the part of `Headers` that is used. */
export class HeaderFields {
  readonly #values = new Map<string, string>();

  get(name: string): string | null {
    return this.#values.get(name.toLowerCase()) ?? null;
  }

  forEach(visit: (value: string, name: string) => void): void {
    this.#values.forEach(visit);
  }

  /** @param name in lower case */
  add(name: string, value: string): void {
    const before = this.#values.get(name);
    if (before !== undefined && SINGLE.has(name)) {
      throw malformed(`more than one ${name} header: send one`);
    }
    this.#values.set(name, before === undefined ? value : `${before}, ${value}`);
  }
}

/** Two of these would contradict each other, and a proxy may use the one that we do not. */
const SINGLE = new Set([
  'content-length',
  'content-type',
  'expect',
  'host',
  'idempotency-key',
  'origin',
  'sec-fetch-site',
  'transfer-encoding',
]);

export const notComplete = (): RequestError =>
  new RequestError(
    'request_timeout',
    `the request was not complete after ${RECEIVE_MS} ms; send it again`,
  );

function readFields(lines: readonly string[]): HeaderFields {
  if (lines.length - 1 > FIELDS_MAX) {
    throw new RequestError('head_too_large', `a request has at most ${FIELDS_MAX} header fields`);
  }
  const fields = new HeaderFields();
  for (let i = 1; i < lines.length; i++) {
    const field = FIELD.exec(lines[i] ?? '');
    if (!field) throw malformedHead(lines, 'a header is not "name: value"');
    const [, name = '', value = ''] = field;
    fields.add(name.toLowerCase(), trim(value));
  }
  return fields;
}

/** Removes spaces and tabs at both ends in linear time, unlike a regular expression. */
function trim(text: string): string {
  let [start, end] = [0, text.length];
  while (start < end && isBlank(text.charCodeAt(start))) start++;
  while (end > start && isBlank(text.charCodeAt(end - 1))) end--;
  return text.slice(start, end);
}

const isBlank = (code: number): boolean => code === 0x20 || code === 0x09;

/** Refuses a host that a proxy, unlike us, may use and could read in another way. */
function checkHost(authority: string | undefined, host: string | null, is_1_0: boolean): void {
  if (host === null && !is_1_0) throw malformed('an HTTP/1.1 request must have a Host header');
  if (host !== null) checkPlainHost(host);
  if (authority !== undefined) checkPlainHost(authority);
}

/** @throws RequestError if it is not a name or an address, with or without a port */
export function checkPlainHost(host: string): void {
  const match = /^(?:[\w.-]{1,255}|\[[\dA-Fa-f:.]{2,45}\])(?::(\d{1,5}))?$/.exec(host);
  if (!match || Number(match[1] ?? 0) > 65_535) throw malformed('Host is not a host[:port]');
}

function readLength(headers: HeaderFields, is_1_0: boolean, target: string): number | 'chunked' {
  const coding = headers.get('transfer-encoding');
  const length = headers.get('content-length');
  if (coding !== null) {
    if (length !== null) throw malformed('Content-Length beside Transfer-Encoding');
    if (is_1_0) throw malformed('HTTP/1.0 has no Transfer-Encoding');
    if (coding.toLowerCase() === 'chunked') return 'chunked';
    throw malformed('the only Transfer-Encoding is chunked');
  }
  if (length === null) return 0;
  if (!/^\d{1,15}$/.test(length)) throw malformed('Content-Length is not a number');
  if (Number(length) <= BODY_MAX_BYTES) return Number(length);
  const most = bodyMaxBytes(target);
  if (Number(length) > most) throw tooLarge(most);
  return Number(length);
}

export const tooLarge = (most: number): RequestError =>
  new RequestError('body_too_large', `a body of this call has at most ${most} bytes`);
