/** Takes requests from the bytes of a connection, in order, each with its whole body. */
import { Buffer } from 'node:buffer';
import { ChunkedBody } from './chunked-body.ts';
import type { Unreadable } from './exchange.ts';
import { GrowingBuffer } from './growing-buffer.ts';
import { freeRoom, reserveRoom } from './large-bodies.ts';
import { BODY_MAX_BYTES, bodyMaxBytes, type RequestHead, readHead } from './message.ts';

const EMPTY = Buffer.alloc(0);
const [CR, LF] = [13, 10];

export interface WholeRequest {
  head: RequestHead;
  body: Buffer | undefined;
}

export class RequestReader {
  /** Bytes that no request has taken yet. */
  readonly #received = new GrowingBuffer();
  #head: RequestHead | undefined;
  #chunks: ChunkedBody | undefined;
  /** Bytes reserved for the body of the request that is read or answered, if it may be large. */
  #room = 0;

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
    this.#freeRoom();
  }

  /**
   * The next request, or undefined if it is not complete yet.
   * @param sendContinue the client waits for `100 Continue` before it sends the body
   * @throws RequestError if the bytes can never become a valid request
   */
  next(sendContinue: () => void): WholeRequest | undefined {
    const head = this.takeHead();
    if (!head) return undefined;
    const body = this.#readBody(head);
    if (!body) {
      if (head.expects_continue) sendContinue();
      head.expects_continue = false;
      return undefined;
    }
    this.#head = this.#chunks = undefined;
    return { head, body: body.length > 0 ? body : undefined };
  }

  /**
   * Reads the head of the next request, if it is complete, and takes room for its body.
   * @throws RequestError if the bytes can never become a valid request; Failure overloaded
   */
  takeHead(): RequestHead | undefined {
    if (this.#head) return this.#head;
    this.#freeRoom(); // the request before is answered
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

  #expectBody({ length, target }: RequestHead): void {
    const chunked_max = length === 'chunked' ? bodyMaxBytes(target) : undefined;
    if (chunked_max !== undefined) this.#chunks = new ChunkedBody(chunked_max);
    const most = chunked_max ?? Number(length);
    if (most <= BODY_MAX_BYTES) return;
    reserveRoom(most);
    this.#room = most;
  }

  #freeRoom(): void {
    freeRoom(this.#room);
    this.#room = 0;
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
