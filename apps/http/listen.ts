/** A port and its connections. ARCHITECTURE.md says why it is not the runtime's HTTP server. */
import type { Buffer } from 'node:buffer';
import { Connection } from './connection.ts';
import type { Responder } from './exchange.ts';
import type { Socket } from './socket.ts';

/** The part of `Bun.listen` that is used. Each socket carries its connection. */
export type Listen = (options: {
  hostname: string;
  port: number;
  allowHalfOpen: boolean;
  socket: {
    open(socket: ServerSocket): void;
    data(socket: ServerSocket, bytes: Buffer): void;
    drain(socket: ServerSocket): void;
    end(socket: ServerSocket): void;
    close(socket: ServerSocket): void;
    error(socket: ServerSocket): void;
  };
}) => { stop(close_all?: boolean): void };

type ServerSocket = Socket & { data: Connection; setNoDelay(on: boolean): unknown };

export interface Listening {
  /**
   * Accepts no more connections, ends the idle ones, answers the requests that are complete, and
   * gives incomplete ones a moment. Resolves when the last connection is closed.
   */
  stop(): Promise<void>;
}

/** More than a gateway keeps open, and less than would exhaust the memory of a service. */
const CONNECTIONS_MAX = 10_000;
/** How often the time limits of the connections are checked. */
const CHECK_MS = 250;

/** @throws the system's error if the port is taken or the address is not this machine's */
export function listenAt(
  listen: Listen,
  hostname: string,
  port: number,
  responder: Responder,
  connections_max = CONNECTIONS_MAX,
): Listening {
  const connections = new Set<Connection>();
  let becameEmpty: (() => void) | undefined;
  const server = listen({
    hostname,
    port,
    allowHalfOpen: true,
    socket: {
      open(socket) {
        socket.setNoDelay(true);
        socket.data = new Connection(socket, responder);
        if (connections.size >= connections_max) return socket.terminate();
        connections.add(socket.data);
        if (becameEmpty) socket.data.stop();
      },
      data: (socket, bytes) => socket.data.receive(bytes),
      drain: (socket) => socket.data.drained(),
      end: (socket) => socket.data.finish(),
      close(socket) {
        socket.data.closed();
        connections.delete(socket.data);
        if (connections.size === 0) becameEmpty?.();
      },
      error: (socket) => socket.terminate(),
    },
  });
  const timer = setInterval(() => {
    const now = performance.now();
    for (const connection of connections) connection.checkTime(now);
  }, CHECK_MS);

  return {
    async stop() {
      server.stop();
      await new Promise<void>((resolve) => {
        becameEmpty = resolve;
        for (const connection of connections) connection.stop();
        if (connections.size === 0) resolve();
      });
      clearInterval(timer);
    },
  };
}
