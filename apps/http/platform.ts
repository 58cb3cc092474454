/** Requests from a platform's own HTTP server, such as Deno's, held to the limits of ours. */
import { Buffer } from 'node:buffer';
import { GrowingBuffer } from './growing-buffer.ts';
import {
  bodyMaxBytes,
  checkPlainHost,
  HEAD_MAX_BYTES,
  malformed,
  notComplete,
  RECEIVE_MS,
  tooLarge,
} from './message.ts';
import { RequestError } from './problem.ts';

/**
 * The request's whole body, or why it is refused. Platforms call as soon as the headers are there,
 * and build the URL from the Host header, so a malformed host would become part of the path.
 */
export async function readPlatformRequest(
  request: Request,
): Promise<{ body?: Uint8Array | undefined; failure?: unknown }> {
  try {
    checkHead(request);
    return { body: request.body ? await readBody(request.body, maxOf(request)) : undefined };
  } catch (error) {
    return {
      failure: error instanceof RequestError ? error : malformed('the body ends too early'),
    };
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

async function readBody(
  stream: ReadableStream<Uint8Array>,
  max_bytes: number,
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
      if (body.bytes.length + next.value.length > max_bytes) throw tooLarge(max_bytes);
      body.append(Buffer.from(next.value.buffer, next.value.byteOffset, next.value.length));
    }
  } finally {
    clearTimeout(timer);
  }
  if (late) throw notComplete();
  return body.bytes.length === 0 ? undefined : body.bytes;
}
