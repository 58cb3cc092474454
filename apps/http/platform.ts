/** Requests from a platform's own HTTP server, such as Deno's, held to the limits of ours. */
import { Buffer } from 'node:buffer';
import { CodedError } from '../../db/failure.ts';
import type { Incoming, Outgoing, Peer, Responder, Sender } from './exchange.ts';
import { GrowingBuffer } from './growing-buffer.ts';
import { LargeBody } from './large-bodies.ts';
import {
  BODY_MAX_BYTES,
  bodyMaxBytes,
  checkPlainHost,
  HEAD_MAX_BYTES,
  malformed,
  notComplete,
  RECEIVE_MS,
  tooLarge,
} from './message.ts';
import { RequestError } from './problem.ts';
import { FIXED_HEADERS } from './response-text.ts';

/** Answers a platform's requests. */
export const platformFetch = (responder: Responder) => async (request: Request, info?: unknown) => {
  const { method, url, headers } = request;
  const asked: Incoming = { method, url, headers, peer: peerIn(info) };
  const { identify } = responder;
  const { body, room, failure } = await read(request, identify && (() => identify(asked)));
  if (failure) {
    const target = url.replace(/^\w+:\/\/[^/]*/, '');
    return withHeaders(responder.refuse(failure, { method, target, headers }));
  }
  const whenGone = (call: () => void) => {
    if (request.signal.aborted) call();
    else request.signal.addEventListener('abort', call);
  };
  const answering = responder.answer(asked, body, whenGone, room?.takeSender());
  return withHeaders(await answering.finally(() => room?.free()));
};

/** Deno passes it like this; other platforms pass something else, or nothing. */
function peerIn(info: unknown): Peer {
  const { remoteAddr } = (info ?? {}) as { remoteAddr?: { hostname?: unknown } };
  const remoteAddress = remoteAddr?.hostname;
  return typeof remoteAddress === 'string' ? { remoteAddress } : {};
}

/** The answer as one object, for platforms. */
function withHeaders({ response, request_id, limited, last }: Outgoing): Response {
  for (const [name, value] of FIXED_HEADERS) {
    if (!response.headers.has(name)) response.headers.set(name, value);
  }
  if (limited) {
    for (const [name, value] of limited.headers) response.headers.set(name, value);
  }
  response.headers.set('x-request-id', request_id);
  if (last) response.headers.set('connection', 'close');
  return response;
}

interface Received {
  body?: Uint8Array | undefined;
  /** Of a large body, until it is answered. */
  room?: LargeBody | undefined;
  /** Why it is refused. */
  failure?: unknown;
}

/**
 * Reads the whole body. Platforms call as soon as the headers are there, and build the URL from the
 * Host header, so a malformed host would become part of the path.
 */
async function read(request: Request, identify?: () => Promise<Sender>): Promise<Received> {
  let room: LargeBody | undefined;
  try {
    checkHead(request);
    if (!request.body) return {};
    const most = maxOf(request);
    const body = await readBody(request.body, most, async () => {
      room = new LargeBody(most, await identify?.());
    });
    return { body, room };
  } catch (error) {
    room?.free();
    return { failure: error instanceof CodedError ? error : malformed('the body ends too early') };
  }
}

function checkHead({ headers, url }: Request): void {
  const host = headers.get('host');
  if (host !== null) checkPlainHost(host);
  if (headers.get('idempotency-key')?.includes(SEPARATOR)) throw malformed(TWO_KEYS);
  let size = url.length;
  for (const [name, value] of headers) size += name.length + value.length + 4;
  if (size <= HEAD_MAX_BYTES) return;
  throw new RequestError('head_too_large', `URL and headers take at most ${HEAD_MAX_BYTES} bytes`);
}

/**
 * `Headers` joins two headers of one name with this. Two keys joined are a third key, so a repeat
 * under one of them would take effect again. A key that contains it looks like two keys.
 */
const SEPARATOR = ', ';
const TWO_KEYS = 'send one Idempotency-Key, without a comma followed by a space';

const maxOf = ({ url }: Request): number => bodyMaxBytes(new URL(url).pathname);

/** @param takeRoom is called before the body becomes a large one */
async function readBody(
  stream: ReadableStream<Uint8Array>,
  max_bytes: number,
  takeRoom: () => Promise<void>,
): Promise<Uint8Array | undefined> {
  const body = new GrowingBuffer();
  const reader = stream.getReader();
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    reader.cancel().catch(() => {}); // ends the read that is waiting
  }, RECEIVE_MS);
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      const [before, after] = [body.bytes.length, body.bytes.length + next.value.length];
      if (after > max_bytes) throw tooLarge(max_bytes);
      if (after > BODY_MAX_BYTES && before <= BODY_MAX_BYTES) await takeRoom();
      body.append(Buffer.from(next.value.buffer, next.value.byteOffset, next.value.length));
    }
  } finally {
    clearTimeout(timer);
  }
  if (late) throw notComplete();
  return body.bytes.length === 0 ? undefined : body.bytes;
}
