/** One connection: its requests in order, each answered before the next is looked at. */
import { Buffer } from 'node:buffer';
import { STATUS_CODES } from 'node:http';
import { Failure } from '../../db/failure.ts';
import { Chunks } from './chunks.ts';
import { type Door, FIXED_HEADERS, type Outgoing } from './door.ts';
import { Growing } from './growing.ts';
import {
  HEAD_MAX_BYTES,
  type Head,
  malformed,
  notComplete,
  RECEIVE_MS,
  readHead,
} from './message.ts';

/**
 * Between two requests, and for an answer to be taken. Longer than proxies keep idle connections
 * (nginx 30 s as we set it, Traefik 90 s), who then never send on one that is being closed here.
 */
const IDLE_MS = 120_000;
/** Once told to stop, for the rest of a request that has begun, and for an answer to be taken. */
const STOP_MS = 500;
/** After the last answer: whoever still sends would otherwise lose it to a reset. */
const LINGER_MS = 1000;
/** What may wait here behind a request that is being answered. */
const AHEAD_MAX_BYTES = HEAD_MAX_BYTES;

const NOTHING = Buffer.alloc(0);
const CONTINUE = 'HTTP/1.1 100 Continue\r\n\r\n';

/** As much of a socket of `Bun.listen` as is used. */
export interface Socket {
  /** @returns how many bytes were taken; the rest may be tried again when there is room */
  write(data: string | Uint8Array): number;
  /** Sends no more, but still receives. */
  shutdown(): void;
  /** Closes, behind what was written. */
  end(): void;
  /** Closes at once. */
  terminate(): void;
  pause(): void;
  resume(): void;
}

export class Connection {
  /** Bytes that no request has taken yet. */
  readonly #received = new Growing();
  #head: Head | undefined;
  #chunks: Chunks | undefined;
  #state: 'reading' | 'answering' | 'ended' = 'reading';
  /** When the present state has lasted too long. */
  #until = performance.now() + RECEIVE_MS;
  /** What the socket has not taken yet, and who waits for that. */
  #unsent: Uint8Array = NOTHING;
  #sent = () => {};
  /** Nothing of the next request has come yet. */
  #idle = false;
  #paused = false;
  #stopping = false;
  #finished = false;

  constructor(
    readonly socket: Socket,
    readonly door: Door,
  ) {}

  /** Bytes have come. */
  take(bytes: Buffer): void {
    if (this.#state === 'ended') return; // it lingers, and reads so that there is no reset
    if (this.#idle) this.#until = performance.now() + RECEIVE_MS;
    this.#idle = false;
    this.#received.append(bytes);
    if (this.#state === 'reading') void this.#serve();
    else if (this.#received.bytes.length > AHEAD_MAX_BYTES) this.#pause(true);
  }

  /** The socket has room again. */
  drained(): void {
    const unsent = this.#unsent;
    this.#unsent = NOTHING;
    this.#send(unsent);
    if (this.#unsent.length > 0) return;
    this.#sent();
    if (this.#state === 'ended') this.#end();
  }

  /** The other side sends no more: what has begun and isn't whole never will be. */
  finish(): void {
    this.#finished = true;
    if (this.#state === 'ended' || (this.#state === 'reading' && !this.#begun)) this.#end();
    else if (this.#state === 'reading') this.#refuse(malformed('the request ends too early'));
  }

  /** The connection is gone. */
  closed(): void {
    this.#state = 'ended';
    this.#received.clear();
    this.#unsent = NOTHING;
    this.#sent();
  }

  /** From now on no request begins; one that has begun may be finished, if it is quick. */
  stop(): void {
    this.#stopping = true;
    if (this.#unsent.length > 0 || (this.#state === 'reading' && this.#begun)) this.#hurry();
    else if (this.#state === 'reading') this.#end();
  }

  #hurry(): void {
    this.#until = Math.min(this.#until, performance.now() + STOP_MS);
  }

  /** Called every now and then: ends what has lasted too long. */
  checkTime(now: number): void {
    if (now < this.#until) return;
    if (this.#unsent.length > 0) this.socket.terminate();
    else if (this.#state === 'ended') this.socket.end();
    else if (!this.#begun) this.#end();
    else if (this.#stopping) this.#refuse(new Failure('not_ready', 'the service is stopping'));
    else this.#refuse(notComplete());
  }

  get #begun(): boolean {
    return this.#received.bytes.length > 0 || this.#head !== undefined;
  }

  /** Answers what is whole, one after the other. */
  async #serve(): Promise<void> {
    try {
      for (let whole = this.#next(); whole; whole = this.#next()) {
        this.#state = 'answering';
        this.#until = Number.POSITIVE_INFINITY;
        const { method, target, headers, last } = whole.head;
        // The path comes from the request line alone, so the host is always the same.
        const request = { method, url: `http://kassa${target}`, headers };
        const answer = await this.door.answer(request, whole.body);
        await this.#write(answer, last || this.#stopping);
        if (this.#ended) return;
        this.#state = 'reading';
        this.#idle = !this.#begun;
        this.#until = performance.now() + (this.#idle ? IDLE_MS : RECEIVE_MS);
        this.#pause(false);
        if (this.#stopping) this.stop(); // it was told so while the answer was on its way
        if (this.#ended) return;
      }
      if (this.#finished) this.finish();
    } catch (error) {
      this.#refuse(error);
    }
  }

  get #ended(): boolean {
    return this.#state === 'ended';
  }

  /** Takes the next request, body and all, from what was received; or undefined. */
  #next(): { head: Head; body: Buffer | undefined } | undefined {
    while (!this.#head && this.#received.bytes[0] === 13 && this.#received.bytes[1] === 10) {
      // Old clients end a body with an empty line.
      this.#received.bytes = this.#received.bytes.subarray(2);
    }
    if (this.#received.bytes.length === 0 && !this.#head) {
      this.#received.clear();
      return undefined;
    }
    if (!this.#head) {
      const head = readHead(this.#received.bytes);
      if (!head) return undefined;
      this.#head = head;
      this.#received.bytes = this.#received.bytes.subarray(head.size);
      if (head.length === 'chunked') this.#chunks = new Chunks();
    }
    const head = this.#head;
    const body = this.#readBody(head);
    if (!body) {
      if (head.expects_continue) this.#send(CONTINUE);
      head.expects_continue = false;
      return undefined;
    }
    this.#head = this.#chunks = undefined;
    return { head, body: body.length > 0 ? body : undefined };
  }

  /** @returns undefined if it is not whole yet */
  #readBody({ length }: Head): Buffer | undefined {
    if (length === 0) return NOTHING;
    if (length === 'chunked') {
      const { rest, body } = this.#chunks?.read(this.#received.bytes) ?? { rest: NOTHING };
      this.#received.bytes = rest;
      return body;
    }
    if (this.#received.bytes.length < length) return undefined;
    const body = this.#received.bytes.subarray(0, length);
    this.#received.bytes = this.#received.bytes.subarray(length);
    return body;
  }

  /** Answers what is no request, and closes: nobody knows where the next one would begin. */
  #refuse(error: unknown): void {
    if (this.#ended) return;
    const text = this.#received.bytes.toString('latin1', 0, 256);
    const [, method = '', target = ''] = /^([A-Z]{1,16}) (\/[!"$->@-~]*)?/.exec(text) ?? [];
    const seen = this.#head ?? { method, target, headers: undefined };
    this.#state = 'answering';
    this.#until = performance.now() + (this.#stopping ? STOP_MS : IDLE_MS);
    try {
      const answer = this.door.refuse(error, seen);
      this.#write(answer, true).catch(() => this.socket.terminate());
    } catch {
      this.socket.terminate();
    }
  }

  /** Resolves when the other side has room for more. */
  async #write({ response, request_id, last }: Outgoing, closes: boolean): Promise<void> {
    const { status, headers } = response;
    let text = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n${commonHeaders(Date.now())}`;
    text += `x-request-id: ${request_id}\r\n`;
    headers.forEach((value, name) => {
      text += `${name}: ${value}\r\n`;
    });
    if (last || closes) text += 'connection: close\r\n';
    const body = await response.text();
    if (!headers.has('content-length')) text += `content-length: ${Buffer.byteLength(body)}\r\n`;
    if (this.#ended) return;
    this.#send(`${text}\r\n${body}`);
    if (last || closes) return this.#end();
    if (this.#unsent.length > 0) await new Promise<void>((resolve) => (this.#sent = resolve));
  }

  /** Sends as much as the socket takes now; the rest follows when it has room. */
  #send(data: string | Uint8Array): void {
    const bytes = () => (typeof data === 'string' ? Buffer.from(data) : data);
    if (this.#unsent.length > 0) {
      this.#unsent = Buffer.concat([this.#unsent, bytes()]);
      return;
    }
    const taken = data.length === 0 ? 0 : Math.max(0, this.socket.write(data));
    const length = typeof data === 'string' ? Buffer.byteLength(data) : data.length;
    if (taken === length) return;
    this.#unsent = bytes().subarray(taken);
    if (this.#stopping) this.#hurry();
    else this.#until = performance.now() + IDLE_MS;
  }

  #pause(pauses: boolean): void {
    if (pauses === this.#paused) return;
    this.#paused = pauses;
    if (pauses) this.socket.pause();
    else this.socket.resume();
  }

  /** No more answers. Whoever still sends is heard for a moment: a reset would take the last one. */
  #end(): void {
    this.#state = 'ended';
    this.#received.clear();
    this.#pause(false);
    if (this.#unsent.length > 0) return;
    this.#until = performance.now() + LINGER_MS;
    if (this.#finished) this.socket.end();
    else this.socket.shutdown();
  }
}

const FIXED = FIXED_HEADERS.map(([name, value]) => `${name}: ${value}\r\n`).join('');
let [second, common] = [0, ''];

/** What every answer has. It is made once a second, since it has the date. */
function commonHeaders(now: number): string {
  if (Math.trunc(now / 1000) !== second) {
    second = Math.trunc(now / 1000);
    common = `date: ${new Date(now).toUTCString()}\r\n${FIXED}`;
  }
  return common;
}
