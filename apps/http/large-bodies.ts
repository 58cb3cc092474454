/** Bounds the memory of the bodies that exceed the usual limit, all of them together. */
import { Failure } from '../../db/failure.ts';
import type { Sender } from './exchange.ts';

/** For all connections of a process together. */
export const LARGE_BODIES_MAX_BYTES = 16 * 1024 * 1024;

let taken = 0;
/** Of each sender who has a name, where authentication is on. */
const own = new Map<string, number>();

/**
 * The room of a large body. A sender may take as much as it leaves free: alone it uses half, and
 * the next finds half of the rest. A sender without a name may use all.
 */
export class LargeBody {
  #bytes = 0;
  readonly #name: string | undefined;
  #sender: Sender | undefined;

  /** @throws Failure overloaded if there is no room of this size; the sender's call has ended then */
  constructor(bytes: number, sender?: Sender) {
    this.#sender = sender;
    this.#name = sender?.principal?.name;
    try {
      assertRoom(bytes, this.#name);
    } catch (error) {
      this.free();
      throw error;
    }
    this.#count(bytes);
  }

  /** Who sends it. From now on the call ends with its answer, and no longer with the room. */
  takeSender(): Sender | undefined {
    const sender = this.#sender;
    this.#sender = undefined;
    return sender;
  }

  free(): void {
    this.takeSender()?.limited?.release();
    this.#count(-this.#bytes);
  }

  #count(bytes: number): void {
    this.#bytes += bytes;
    taken += bytes;
    if (this.#name === undefined) return;
    const rest = (own.get(this.#name) ?? 0) + bytes;
    if (rest > 0) own.set(this.#name, rest);
    else own.delete(this.#name);
  }
}

function assertRoom(bytes: number, name: string | undefined): void {
  const free = LARGE_BODIES_MAX_BYTES - taken;
  if (bytes > free) throw full('too many large bodies are being received');
  if (name === undefined) return;
  const before = own.get(name) ?? 0;
  if (before > 0 && before + bytes > free)
    throw full('your large bodies take their share of the room');
}

const full = (why: string) => new Failure('overloaded', `${why}; nothing was tried`);
