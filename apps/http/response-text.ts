/** An answer as the text that goes over the wire, with the headers that all answers have. */
import { Buffer } from 'node:buffer';
import { STATUS_CODES } from 'node:http';
import type { Outgoing } from './exchange.ts';

/** What browsers may do with an answer. A page brings a policy of its own. */
export const POLICY = 'content-security-policy';

/** The type of answers that go on until the connection closes. */
export const STREAM_TYPE = 'text/event-stream';

/** Answers are not to be cached, guessed at, or shown as a page. */
export const FIXED_HEADERS: readonly [name: string, value: string][] = [
  ['cache-control', 'no-store'],
  ['x-content-type-options', 'nosniff'],
  [POLICY, "default-src 'none'; frame-ancestors 'none'"],
];

/** @param closes whether the connection closes after it */
export async function responseText(answer: Outgoing, closes: boolean): Promise<string> {
  const body = await answer.response.text();
  const { status, headers } = answer.response;
  let text = headText(answer, closes);
  // RFC 9110 forbids it in a 204. In a 304 it would be the length of the answer that is not sent.
  const has_length = status === 204 || status === 304 || headers.has('content-length');
  if (!has_length) text += `content-length: ${Buffer.byteLength(body)}\r\n`;
  return `${text}\r\n${body}`;
}

/** The head of an answer that goes on until the connection closes. */
export const streamHead = (answer: Outgoing): string => `${headText(answer, true)}\r\n`;

/** Without the empty line at its end. */
function headText({ response, request_id, limited }: Outgoing, closes: boolean): string {
  const { status, headers } = response;
  let text = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n`;
  text += dateLine(Date.now());
  text += isOrdinary(headers) ? FIXED : fixedBeside(headers);
  text += `x-request-id: ${request_id}\r\n`;
  if (limited) text += limited.headers.map(lineOf).join('');
  headers.forEach((value, name) => {
    text += `${name}: ${value}\r\n`;
  });
  return closes ? `${text}connection: close\r\n` : text;
}

const lineOf = ([name, value]: readonly [string, string]) => `${name}: ${value}\r\n`;
const FIXED = FIXED_HEADERS.map(lineOf).join('');
const isOrdinary = (headers: Headers) => !headers.has(POLICY) && !headers.has('cache-control');
/** Without those that the answer has of its own. */
const fixedBeside = (headers: Headers): string =>
  FIXED_HEADERS.filter(([name]) => !headers.has(name))
    .map(lineOf)
    .join('');
let [second, date] = [0, ''];

/** The date is formatted once a second. */
function dateLine(now: number): string {
  if (Math.trunc(now / 1000) !== second) {
    second = Math.trunc(now / 1000);
    date = `date: ${new Date(now).toUTCString()}\r\n`;
  }
  return date;
}
