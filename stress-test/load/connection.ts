/** One connection, one call at a time: opened when it is needed, kept while the server keeps it. */
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

/** Why no answer came: no connection, one that ended, no answer in time, or bytes that are none. */
export type Broken = 'refused' | 'closed' | 'timeout' | 'protocol';

/** Whom a connection tells. Each `send` ends in exactly one of these. */
export interface Owner {
  answered(connection: Connection): void;
  broken(connection: Connection, why: Broken): void;
}

/** A socket and whose it is: nobody's, once the connection has given it up. */
interface Line {
  connection: Connection | undefined;
  socket?: Socket<Line>;
}

export class Connection {
  readonly call: Call = newCall();
  readonly reader = new AnswerReader();
  /** When the call should have started, and when it was given to this connection; ms. */
  intended = 0;
  sent = 0;
  busy = false;
  /** How often it was opened. */
  opened = 0;

  private line: Line | undefined;
  /** What the socket has not taken yet. */
  private rest = '';

  constructor(
    private readonly target: Target,
    private readonly owner: Owner,
  ) {}

  get insecure(): boolean {
    return this.target.insecure;
  }

  /** Opens a socket if there is none. `send` does so too; ahead of it, the call needn't wait. */
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

  /** Gives up the call with its socket, on which its answer would be taken for the next call's. */
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

  /** The socket has ended, or never began. */
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

/** A socket that opens after its connection has given it up is closed again. */
const ready = (socket: Socket<Line>): void => {
  if (socket.data.connection) socket.data.connection.ready(socket);
  else socket.terminate();
};

const overTcp = { ...events, open: ready };

const overTls = {
  ...events,
  open: () => {}, // nothing is sent before the certificate is known
  handshake: (socket: Socket<Line>, trusted: boolean) => {
    const { connection } = socket.data;
    if (trusted || connection?.insecure) return ready(socket);
    connection?.gone('refused');
    socket.terminate();
  },
};
