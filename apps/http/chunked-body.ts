/** Decodes a chunked body while its bytes arrive: strictly, and within limits. */
import type { Buffer } from 'node:buffer';
import { GrowingBuffer } from './growing-buffer.ts';
import { HEAD_MAX_BYTES, malformed, tooLarge } from './message.ts';

/** For the chunk sizes, extensions and trailers of one body together. */
const FRAMING_MAX_BYTES = HEAD_MAX_BYTES;
const TOO_MUCH_FRAMING = `chunk sizes, extensions and trailers exceed ${FRAMING_MAX_BYTES} bytes`;
const TOKEN = "[!#$%&'*+.^_`|~\\w-]+";
const QUOTED = '"[\\t !#-[\\]-~\\x80-\\xff]*"';
/** A chunk's size in hexadecimal digits, and extensions, which are ignored: `1a;name=value`. */
const SIZE_LINE = new RegExp(`^([\\dA-Fa-f]{1,8})(?:;${TOKEN}(?:=(?:${TOKEN}|${QUOTED}))?)*$`);
const TRAILER = new RegExp(`^${TOKEN}:[\\t -~\\x80-\\xff]*$`);
const CRLF = '\r\n';

export class ChunkedBody {
  readonly #body = new GrowingBuffer();
  #length = 0;
  #framing = 0;
  #expects: 'size' | 'data' | 'end of data' | 'trailer' = 'size';
  #missing = 0;

  constructor(readonly max_bytes: number) {}

  /**
   * Consumes as much of `bytes` as belongs to the body and is there.
   * @returns the bytes that were not consumed, and the body once it is complete
   * @throws RequestError malformed_request, body_too_large
   */
  read(bytes: Buffer): { rest: Buffer; body?: Buffer } {
    let rest = bytes;
    for (;;) {
      if (this.#expects === 'data') {
        const piece = rest.subarray(0, this.#missing);
        if (piece.length > 0) this.#body.append(piece);
        this.#missing -= piece.length;
        rest = rest.subarray(piece.length);
        if (this.#missing > 0) return { rest };
        this.#expects = 'end of data';
      }
      const end = rest.indexOf(CRLF);
      const taken = end === -1 ? rest.length : end + CRLF.length;
      if (this.#framing + taken > FRAMING_MAX_BYTES) throw malformed(TOO_MUCH_FRAMING);
      if (end === -1) return { rest };
      this.#framing += taken;
      const line = rest.toString('latin1', 0, end);
      rest = rest.subarray(taken);
      if (this.#readLine(line)) return { rest, body: this.#body.bytes };
    }
  }

  /** @returns true if this line ends the body */
  #readLine(line: string): boolean {
    if (this.#expects === 'trailer') {
      if (line === '') return true;
      if (!TRAILER.test(line)) throw malformed('a trailer is not "name: value"');
      return false;
    }
    if (this.#expects === 'end of data') {
      if (line !== '') throw malformed('a chunk is longer than its size');
      this.#expects = 'size';
      return false;
    }
    const digits = SIZE_LINE.exec(line)?.[1];
    if (digits === undefined) throw malformed('the size of a chunk is not a number');
    this.#missing = Number.parseInt(digits, 16);
    this.#length += this.#missing;
    if (this.#length > this.max_bytes) throw tooLarge(this.max_bytes);
    this.#expects = this.#missing === 0 ? 'trailer' : 'data';
    return false;
  }
}
