/** Takes requests from the bytes of a connection, in order, each with its whole body. */
import { Buffer } from 'node:buffer';
import { ChunkedBody } from './chunked-body.ts';
import type { Incoming, Outgoing, Peer, Sender, Unreadable } from './exchange.ts';
import { GrowingBuffer } from './growing-buffer.ts';
import { LargeBody } from './large-bodies.ts';
import { BODY_MAX_BYTES, bodyMaxBytes, type RequestHead, readHead } from './message.ts';

const EMPTY = Buffer.alloc(0);
const [CR, LF] = [13, 10];

export interface WholeRequest {
  head: RequestHead;
  body: Buffer | undefined;
  /** Of a large body. See `answerWhole`. */
  room?: LargeBody | undefined;
}

/** The path is taken from the request line alone, so the host is always the same. */
export const requestOf = ({ method, target, headers }: RequestHead, peer: Peer): Incoming => ({
  method,
  url: `http://kassa${target}`,
  headers,
  peer,
});

/**
 * Keeps the body and its room until the answer is made: no less if the client leaves before, and no
 * longer if it does not take the answer.
 */
export async function answerWhole(
  whole: WholeRequest,
  answer: (body: Buffer | undefined, sender: Sender | undefined) => Promise<Outgoing>,
): Promise<Outgoing> {
  try {
    return await answer(whole.body, whole.room?.takeSender());
  } finally {
    whole.body = undefined;
    whole.room?.free();
  }
}

export interface Senders {
  /** Says who sends a request; not there if everybody may. */
  identify?: ((head: RequestHead) => Promise<Sender>) | undefined;
  /** It is known who sends the request that has begun, and its body has room, unless it failed. */
  identified(failure?: { error: unknown }): void;
}

export class RequestReader {
  /** Bytes that no request has taken yet. */
  readonly #received = new GrowingBuffer();
  #head: RequestHead | undefined;
  #chunks: ChunkedBody | undefined;
  /** For the body of the request that is read, if it may be large. */
  #room: LargeBody | undefined;
  /** It is being found out who sends a large body, which has no room before. */
  identifying = false;
  readonly #senders: Senders;

  constructor(senders: Senders) {
    this.#senders = senders;
  }

  append(bytes: Buffer): void {
    this.#received.append(bytes);
  }

  /** How many bytes wait to be read. */
  get size(): number {
    return this.#received.bytes.length;
  }

  /** Part of a request has arrived. */
  get begun(): boolean {
    return this.size > 0 || this.#head !== undefined;
  }

  clear(): void {
    this.#received.clear();
    this.#head = this.#chunks = undefined;
    this.#freeRoom();
  }

  /**
   * The next request, or undefined if it is not complete yet.
   * @param sendContinue the client waits for `100 Continue` before it sends the body
   * @throws RequestError if the bytes can never become a valid request
   */
  next(sendContinue: () => void): WholeRequest | undefined {
    const head = this.takeHead();
    if (!head || this.identifying) return undefined;
    const body = this.#readBody(head);
    if (!body) {
      if (head.expects_continue) sendContinue();
      head.expects_continue = false;
      return undefined;
    }
    this.#head = this.#chunks = undefined;
    const room = this.#room;
    this.#room = undefined;
    if (room) this.#received.renew(); // the memory of the body is its own from now on
    return { head, body: body.length > 0 ? body : undefined, room };
  }

  /**
   * Reads the head of the next request, if it is complete, and takes room for its body.
   * @throws RequestError if the bytes can never become a valid request; Failure overloaded
   */
  takeHead(): RequestHead | undefined {
    if (this.#head) return this.#head;
    const received = this.#received;
    let empty = 0; // old clients send an empty line behind a body
    while (received.bytes[empty] === CR && received.bytes[empty + 1] === LF) empty += 2;
    received.bytes = received.bytes.subarray(empty);
    if (received.bytes.length === 0) {
      received.clear();
      return undefined;
    }
    const head = readHead(received.bytes);
    if (!head) return undefined;
    this.#head = head;
    received.bytes = received.bytes.subarray(head.size);
    this.#expectBody(head);
    return head;
  }

  #expectBody(head: RequestHead): void {
    const { length, target } = head;
    const chunked_max = length === 'chunked' ? bodyMaxBytes(target) : undefined;
    if (chunked_max !== undefined) this.#chunks = new ChunkedBody(chunked_max);
    const most = chunked_max ?? Number(length);
    if (most <= BODY_MAX_BYTES) return;
    if (this.#senders.identify) void this.#identify(head, most);
    else this.#room = new LargeBody(most);
  }

  async #identify(head: RequestHead, bytes: number): Promise<void> {
    this.identifying = true;
    try {
      const sender = await this.#senders.identify?.(head);
      if (this.#head !== head) return sender?.limited?.release(); // its client has left
      this.#room = new LargeBody(bytes, sender);
      this.identifying = false;
      this.#senders.identified();
    } catch (error) {
      if (this.#head === head) this.#senders.identified({ error });
    }
  }

  #freeRoom(): void {
    this.#room?.free();
    this.#room = undefined;
    this.identifying = false;
  }

  /** @returns undefined if the body is not complete yet */
  #readBody({ length }: RequestHead): Buffer | undefined {
    if (length === 0) return EMPTY;
    if (length === 'chunked') {
      const { rest, body } = this.#chunks?.read(this.#received.bytes) ?? { rest: EMPTY };
      this.#received.bytes = rest;
      return body;
    }
    if (this.#received.bytes.length < length) return undefined;
    const body = this.#received.bytes.subarray(0, length);
    this.#received.bytes = this.#received.bytes.subarray(length);
    return body;
  }

  /** Method, path and headers of the request that has begun, as far as they can be read. */
  seen(): Unreadable {
    if (this.#head) return this.#head;
    const text = this.#received.bytes.toString('latin1', 0, 256);
    const [, method = '', target = ''] = /^([A-Z]{1,16}) (\/[!"$->@-~]*)?/.exec(text) ?? [];
    return { method, target, headers: undefined };
  }
}
