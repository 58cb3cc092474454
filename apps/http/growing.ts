/** Bytes that come in pieces, however small: each byte is copied a few times at most. */
import { Buffer } from 'node:buffer';

const NOTHING = Buffer.alloc(0);

export class Growing {
  /** What there is; taking some of it from the front leaves a later part of the same bytes. */
  bytes: Buffer = NOTHING;
  /** `bytes` is the end of what is filled of it, unless it is a single piece. */
  #room: Buffer = NOTHING;

  append(piece: Buffer): void {
    const { length } = this.bytes;
    if (length === 0) {
      this.clear();
      this.bytes = piece;
      return;
    }
    const shared = this.bytes.buffer === this.#room.buffer;
    let start = shared ? this.bytes.byteOffset - this.#room.byteOffset : 0;
    if (!shared || start + length + piece.length > this.#room.length) {
      this.#room = Buffer.allocUnsafeSlow(2 * (length + piece.length)); // nobody else writes there
      this.bytes.copy(this.#room);
      start = 0;
    }
    piece.copy(this.#room, start + length);
    this.bytes = this.#room.subarray(start, start + length + piece.length);
  }

  /** Keeps no memory. */
  clear(): void {
    this.bytes = this.#room = NOTHING;
  }
}
