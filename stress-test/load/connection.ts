/** A connection with one call at a time: opened on demand, kept open as long as the server does. */
import type { Socket } from 'bun';
import { AnswerReader, BAD, MORE } from './answers.ts';
import { type Call, newCall } from './calls.ts';

export interface Target {
  hostname: string;
  port: number;
  tls: boolean;
  /** Accept any certificate. */
  insecure: boolean;
}

/** Why a call has no answer: no connection, a closed one, a timeout, or invalid bytes. */
export type Broken = 'refused' | 'closed' | 'timeout' | 'protocol';

/** Callbacks of a connection. Each `send` results in exactly one of them. */
export interface Owner {
  answered(connection: Connection): void;
  broken(connection: Connection, why: Broken): void;
}

/** A socket and its connection; undefined after the connection has abandoned it. */
interface Line {
  connection: Connection | undefined;
  socket?: Socket<Line>;
}

export class Connection {
  readonly call: Call = newCall();
  readonly reader = new AnswerReader();
  /** The intended start of the call, and when it was sent; ms. */
  intended = 0;
  sent = 0;
  busy = false;
  /** How often it was opened. */
  opened = 0;

  private line: Line | undefined;
  /** Bytes not yet written to the socket. */
  private rest = '';

  constructor(
    private readonly target: Target,
    private readonly owner: Owner,
  ) {}

  get insecure(): boolean {
    return this.target.insecure;
  }

  /** Opens a socket in advance, so that `send` need not. */
  open(): void {
    if (this.line) return;
    const line: Line = { connection: this };
    this.line = line;
    const { hostname, port, tls, insecure } = this.target;
    const secure = { rejectUnauthorized: !insecure, serverName: hostname };
    const connecting = tls
      ? Bun.connect<Line>({ hostname, port, data: line, tls: secure, socket: overTls })
      : Bun.connect<Line>({ hostname, port, data: line, socket: overTcp });
    connecting.catch(() => line.connection?.gone('refused'));
  }

  /** Sends `call.request`. */
  send(intended: number, now: number): void {
    this.intended = intended;
    this.sent = now;
    this.busy = true;
    this.reader.wanted = this.call.wanted;
    this.rest = this.call.request;
    if (this.line) this.flush();
    else this.open();
  }

  /** Abandons the call and its socket, on which a late answer would look like the next call's. */
  abandon(why: Broken): void {
    const socket = this.line?.socket;
    this.gone(why);
    socket?.terminate();
  }

  ready(socket: Socket<Line>): void {
    if (this.line) this.line.socket = socket;
    this.opened++;
    this.flush();
  }

  flush(): void {
    if (this.rest === '' || !this.line?.socket) return;
    const taken = this.line.socket.write(this.rest);
    if (taken > 0) this.rest = taken === this.rest.length ? '' : this.rest.slice(taken);
  }

  received(socket: Socket<Line>, bytes: Buffer): void {
    const end = this.busy ? this.reader.read(bytes) : BAD;
    if (end === MORE) return;
    if (end !== bytes.length) {
      this.abandon('protocol');
      return;
    }
    if (this.reader.closes) {
      this.detach();
      socket.end();
    }
    this.busy = false;
    this.owner.answered(this);
  }

  /** The socket has closed, or could not be opened. */
  gone(why: Broken): void {
    const whole = this.reader.close();
    this.detach();
    if (!this.busy) return;
    this.busy = false;
    if (whole) this.owner.answered(this);
    else this.owner.broken(this, why);
  }

  private detach(): void {
    if (this.line) this.line.connection = undefined;
    this.line = undefined;
    this.rest = '';
  }
}

const events = {
  data: (socket: Socket<Line>, bytes: Buffer) => socket.data.connection?.received(socket, bytes),
  drain: (socket: Socket<Line>) => socket.data.connection?.flush(),
  end: (socket: Socket<Line>) => {
    socket.end();
  },
  close: (socket: Socket<Line>) => socket.data.connection?.gone('closed'),
  error: (socket: Socket<Line>) => socket.data.connection?.gone('closed'),
  connectError: (socket: Socket<Line>) => socket.data.connection?.gone('refused'),
};

/** A socket that opens after its connection has abandoned it is closed. */
const ready = (socket: Socket<Line>): void => {
  if (socket.data.connection) socket.data.connection.ready(socket);
  else socket.terminate();
};

const overTcp = { ...events, open: ready };

const overTls = {
  ...events,
  open: () => {}, // nothing is sent before the certificate is verified
  handshake: (socket: Socket<Line>, trusted: boolean) => {
    const { connection } = socket.data;
    if (trusted || connection?.insecure) return ready(socket);
    connection?.gone('refused');
    socket.terminate();
  },
};
