/** A chunked body, put together from bytes as they come: strictly, and bounded. */
import type { Buffer } from 'node:buffer';
import { Growing } from './growing.ts';
import { BODY_MAX_BYTES, HEAD_MAX_BYTES, malformed, tooLarge } from './message.ts';

/** Sizes, extensions and trailers beside the body itself, altogether. */
const AROUND_MAX_BYTES = HEAD_MAX_BYTES;
const TOO_MUCH_AROUND = `chunk sizes, extensions and trailers exceed ${AROUND_MAX_BYTES} bytes`;
/** A chunk's size in hexadecimal digits, and an extension, which nobody reads. */
const SIZE_LINE = /^([\dA-Fa-f]{1,8})(?:[ \t]*;[\t -~\x80-\xff]*)?$/;
const TRAILER = /^[!#$%&'*+.^_`|~\w-]+:[\t -~\x80-\xff]*$/;
const CRLF = '\r\n';

export class Chunks {
  readonly #body = new Growing();
  #length = 0;
  #around = 0;
  #part: 'size' | 'data' | 'end of data' | 'trailer' = 'size';
  #missing = 0;

  /**
   * Takes what there is of the body, line by line and piece by piece.
   * @returns what was not taken, and the body once it is whole @throws Failure if it is none
   */
  read(bytes: Buffer): { rest: Buffer; body?: Buffer } {
    let rest = bytes;
    for (;;) {
      if (this.#part === 'data') {
        const piece = rest.subarray(0, this.#missing);
        if (piece.length > 0) this.#body.append(piece);
        this.#missing -= piece.length;
        rest = rest.subarray(piece.length);
        if (this.#missing > 0) return { rest };
        this.#part = 'end of data';
      }
      const end = rest.indexOf(CRLF);
      const taken = end === -1 ? rest.length : end + CRLF.length;
      if (this.#around + taken > AROUND_MAX_BYTES) throw malformed(TOO_MUCH_AROUND);
      if (end === -1) return { rest };
      this.#around += taken;
      const line = rest.toString('latin1', 0, end);
      rest = rest.subarray(taken);
      if (this.#readLine(line)) return { rest, body: this.#body.bytes };
    }
  }

  /** @returns true if this line ends the body */
  #readLine(line: string): boolean {
    if (this.#part === 'trailer') {
      if (line === '') return true;
      if (!TRAILER.test(line)) throw malformed('a trailer is not "name: value"');
      return false;
    }
    if (this.#part === 'end of data') {
      if (line !== '') throw malformed('a chunk is longer than its size');
      this.#part = 'size';
      return false;
    }
    const digits = SIZE_LINE.exec(line)?.[1];
    if (digits === undefined) throw malformed('the size of a chunk is not a number');
    this.#missing = Number.parseInt(digits, 16);
    this.#length += this.#missing;
    if (this.#length > BODY_MAX_BYTES) throw tooLarge();
    this.#part = this.#missing === 0 ? 'trailer' : 'data';
    return false;
  }
}
