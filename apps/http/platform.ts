/** A `Request` that a platform's own server has made, such as Deno's: held to the limits of ours. */
import { Failure } from '../../db/failure.ts';
import { BODY_MAX_BYTES, checkPlainHost, HEAD_MAX_BYTES, malformed, tooLarge } from './message.ts';

/**
 * Its whole body, or why it is refused. Platforms call at the headers, and make the URL from the
 * Host header: an odd one would become part of the path.
 */
export async function readPlatformRequest(
  request: Request,
): Promise<{ body?: Uint8Array | undefined; failure?: unknown }> {
  try {
    checkHead(request);
    return { body: request.body ? await readBody(request.body) : undefined };
  } catch (error) {
    return { failure: error instanceof Failure ? error : malformed('the body ends too early') };
  }
}

function checkHead({ headers, url }: Request): void {
  const host = headers.get('host');
  if (host !== null) checkPlainHost(host);
  if (headers.get('idempotency-key')?.includes(JOINT)) throw malformed(TWO_KEYS);
  let size = url.length;
  for (const [name, value] of headers) size += name.length + value.length + 4;
  if (size <= HEAD_MAX_BYTES) return;
  throw new Failure('head_too_large', `URL and headers take at most ${HEAD_MAX_BYTES} bytes`);
}

/**
 * What `Headers` puts between two of one name. One call under two keys would have a third, and a
 * repeat under one of them would happen again; a key that has this in it can't be told from two.
 */
const JOINT = ', ';
const TWO_KEYS = 'send one Idempotency-Key, without a comma followed by a space';

async function readBody(stream: ReadableStream<Uint8Array>): Promise<Uint8Array | undefined> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of stream) {
    length += piece.length;
    if (length > BODY_MAX_BYTES) throw tooLarge();
    pieces.push(piece);
  }
  if (length === 0) return undefined;
  const body = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    body.set(piece, at);
    at += piece.length;
  }
  return body;
}
