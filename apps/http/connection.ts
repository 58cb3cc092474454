/** One connection: its requests in order, each answered before the next is read. */
import { Buffer } from 'node:buffer';
import { Failure } from '../../db/failure.ts';
import type { Outgoing, Peer, Responder } from './exchange.ts';
import { HEAD_MAX_BYTES, malformed, notComplete, RECEIVE_MS } from './message.ts';
import { answerWhole, RequestReader, requestOf, type WholeRequest } from './request-reader.ts';
import { responseText, STREAM_TYPE, streamHead } from './response-text.ts';
import type { Socket } from './socket.ts';
import { takeTurn } from './turns.ts';

/**
 * Between two requests, and for a client to take an answer. It is longer than proxies keep idle
 * connections (nginx 30 s as we set it, Traefik 90 s), so that they do not send a request on a
 * connection that closes here at the same moment.
 */
const IDLE_MS = 120_000;
/** After a stop: for the rest of a request that has begun, and for a client to take its answer. */
const STOP_MS = 500;
/** After the last answer: a reset would discard it if the client still sends. */
const LINGER_MS = 1000;
/** How many bytes may wait behind a request that is being answered. */
const AHEAD_MAX_BYTES = HEAD_MAX_BYTES;

const EMPTY = Buffer.alloc(0);
const CONTINUE = 'HTTP/1.1 100 Continue\r\n\r\n';

export class Connection {
  readonly #reader: RequestReader;
  #state: 'reading' | 'answering' | 'ended' = 'reading';
  /** When the present state has lasted too long. */
  #until = performance.now() + RECEIVE_MS;
  /** Bytes that the socket has not taken yet, and what to call when it has. */
  #unsent: Uint8Array = EMPTY;
  #sent = () => {};
  /** Tells that nobody waits for the answer any more, or ends it if it is being streamed. */
  #giveUp = () => {};
  /** No byte of the next request has arrived. */
  #idle = false;
  #paused = false;
  #stopping = false;
  #finished = false;
  #waits_its_turn = false;

  constructor(
    readonly socket: Socket,
    readonly responder: Responder,
    /** Read when the connection opens: a closed socket has no address. */
    readonly peer: Peer = { remoteAddress: socket.remoteAddress },
  ) {
    const { identify } = responder;
    this.#reader = new RequestReader({
      identify: identify && ((head) => identify(requestOf(head, peer))),
      identified: (failure) => {
        if (failure && this.#state === 'reading') this.#refuse(failure.error);
        else this.#serveInTurn();
      },
    });
  }

  /** Bytes have arrived. */
  receive(bytes: Buffer): void {
    if (this.#state === 'ended') return; // it lingers, and reads on to avoid a reset
    if (this.#idle) this.#until = performance.now() + RECEIVE_MS;
    this.#idle = false;
    this.#reader.append(bytes);
    const is_large = this.#reader.size > AHEAD_MAX_BYTES;
    if (is_large) this.#pause(true); // until its turn has come, or the answer before is sent
    try {
      // At once: a large body must get its room, or be refused.
      if (is_large && this.#state === 'reading') this.#reader.takeHead();
      this.#serveInTurn();
    } catch (error) {
      this.#refuse(error);
    }
  }

  /** The socket has room again. */
  drained(): void {
    const unsent = this.#unsent;
    this.#unsent = EMPTY;
    this.#send(unsent);
    if (this.#unsent.length > 0) return;
    this.#sent();
    if (this.#state === 'ended') this.#end();
  }

  /** The client sends no more, so an incomplete request stays incomplete. */
  finish(): void {
    this.#finished = true;
    this.#giveUp();
    const may_be_whole = this.#waits_its_turn || this.#reader.identifying;
    if (may_be_whole && this.#state === 'reading') return;
    if (this.#state === 'ended' || (this.#state === 'reading' && !this.#reader.begun)) this.#end();
    else if (this.#state === 'reading') this.#refuse(malformed('the request ends too early'));
  }

  /** The connection is gone. */
  closed(): void {
    this.#state = 'ended';
    this.#reader.clear();
    this.#unsent = EMPTY;
    this.#sent();
    this.#giveUp();
  }

  /** From now on no request begins; one that has begun has `STOP_MS` to become complete. */
  stop(): void {
    this.#stopping = true;
    this.#giveUp();
    if (this.#unsent.length > 0 || (this.#state === 'reading' && this.#reader.begun)) this.#hurry();
    else if (this.#state === 'reading') this.#end();
  }

  #hurry(): void {
    this.#until = Math.min(this.#until, performance.now() + STOP_MS);
  }

  /** Ends the connection if its present state has lasted too long. */
  checkTime(now: number): void {
    if (now < this.#until) return;
    if (this.#waits_its_turn) void this.#serve(); // it may be complete
    if (now < this.#until) return;
    if (this.#unsent.length > 0) this.socket.terminate();
    else if (this.#state === 'ended') this.socket.end();
    else if (!this.#reader.begun) this.#end();
    else if (this.#stopping) this.#refuse(new Failure('not_ready', 'the service is stopping'));
    else this.#refuse(notComplete());
  }

  #serveInTurn(): void {
    if (this.#waits_its_turn) return;
    this.#waits_its_turn = true;
    takeTurn(() => {
      this.#waits_its_turn = false;
      void this.#serve();
    }, this.responder.takesTurns?.());
  }

  /** Answers the next request, if it is complete. Those behind it take turns of their own. */
  async #serve(): Promise<void> {
    if (this.#state !== 'reading') return;
    try {
      const whole = this.#reader.next(() => this.#send(CONTINUE));
      if (whole) return await this.#answer(whole);
      this.#pause(this.#reader.identifying);
      if (this.#finished) this.finish();
    } catch (error) {
      this.#refuse(error);
    }
  }

  async #answer(whole: WholeRequest): Promise<void> {
    this.#state = 'answering';
    this.#until = Number.POSITIVE_INFINITY;
    this.#giveUp = () => {};
    const request = requestOf(whole.head, this.peer);
    const answer = await answerWhole(whole, (body, sender) =>
      this.responder.answer(request, body, this.#whenGone, sender),
    );
    await this.#write(answer, whole.head.last || this.#stopping);
    if (this.#ended) return;
    this.#state = 'reading';
    this.#idle = !this.#reader.begun;
    this.#until = performance.now() + (this.#idle ? IDLE_MS : RECEIVE_MS);
    this.#pause(false);
    if (this.#stopping) this.stop(); // the stop came while the answer was being made
    if (this.#ended) return;
    if (!this.#idle) return this.#serveInTurn();
    this.#reader.clear();
    if (this.#finished) this.finish();
  }

  readonly #whenGone = (call: () => void): void => {
    this.#giveUp = call;
    if (this.#ended) call(); // before the route asked to be told
  };

  get #ended(): boolean {
    return this.#state === 'ended';
  }

  /** Answers something that is not a request, and closes: where the next begins is unknown. */
  #refuse(error: unknown): void {
    if (this.#ended) return;
    this.#state = 'answering';
    this.#until = performance.now() + (this.#stopping ? STOP_MS : IDLE_MS);
    try {
      const answer = this.responder.refuse(error, this.#reader.seen());
      this.#write(answer, true).catch(() => this.socket.terminate());
    } catch {
      this.socket.terminate();
    }
  }

  /** Resolves when the client can take more. */
  async #write(answer: Outgoing, closes: boolean): Promise<void> {
    if (answer.response.headers.get('content-type') === STREAM_TYPE) return this.#stream(answer);
    const last = answer.last || closes;
    const text = await responseText(answer, last);
    if (this.#ended) return;
    this.#send(text);
    if (last) return this.#end();
    if (this.#unsent.length > 0) await new Promise<void>((resolve) => (this.#sent = resolve));
  }

  /** Sends parts as the client takes them. The end of the connection is the end of the answer. */
  async #stream(answer: Outgoing): Promise<void> {
    const parts = answer.response.body?.getReader();
    this.#giveUp = () => void parts?.cancel();
    if (this.#finished || this.#stopping || this.#ended) this.#giveUp();
    if (!this.#ended) this.#send(streamHead(answer));
    for (;;) {
      if (this.#unsent.length > 0) await new Promise<void>((resolve) => (this.#sent = resolve));
      this.#until = Number.POSITIVE_INFINITY;
      const part = await parts?.read();
      if (this.#ended) return;
      if (!part?.value) return this.#end();
      this.#send(part.value);
    }
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

  /** Sends no more answers. It still reads for `LINGER_MS`, or a reset could discard the last. */
  #end(): void {
    this.#state = 'ended';
    this.#reader.clear();
    this.#pause(false);
    if (this.#unsent.length > 0) return;
    this.#until = performance.now() + LINGER_MS;
    if (this.#finished) this.socket.end();
    else this.socket.shutdown();
  }
}
