/** A buffer that grows by pieces of any size and copies each byte a few times at most. */
import { Buffer } from 'node:buffer';

const EMPTY = Buffer.alloc(0);

export class GrowingBuffer {
  /** The content. To consume bytes, assign a later part of it. */
  bytes: Buffer = EMPTY;
  /** The memory that `bytes` points into, with room behind it; unless `bytes` is a single piece. */
  #memory: Buffer = EMPTY;

  append(piece: Buffer): void {
    const { length } = this.bytes;
    if (length === 0) {
      this.clear();
      this.bytes = piece;
      return;
    }
    const shared = this.bytes.buffer === this.#memory.buffer;
    let start = shared ? this.bytes.byteOffset - this.#memory.byteOffset : 0;
    if (!shared || start + length + piece.length > this.#memory.length) {
      // Not from Node's pool: nothing else may be written behind the content.
      this.#memory = Buffer.allocUnsafeSlow(2 * (length + piece.length));
      this.bytes.copy(this.#memory);
      start = 0;
    }
    piece.copy(this.#memory, start + length);
    this.bytes = this.#memory.subarray(start, start + length + piece.length);
  }

  /** Copies the content, and leaves the memory to what was taken from it. */
  renew(): void {
    const rest = this.bytes;
    this.clear();
    if (rest.length > 0) this.bytes = Buffer.from(rest);
  }

  /** Drops the content and its memory. */
  clear(): void {
    this.bytes = this.#memory = EMPTY;
  }
}
