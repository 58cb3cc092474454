/** A port and its connections. Why not the runtime's own HTTP server: ARCHITECTURE.md, "The edge". */
import type { Buffer } from 'node:buffer';
import { Connection, type Socket } from './connection.ts';
import type { Door } from './door.ts';

/** As much of `Bun.listen` as is used; each socket carries its connection. */
export type Listen = (options: {
  hostname: string;
  port: number;
  allowHalfOpen: boolean;
  socket: {
    open(socket: Carrier): void;
    data(socket: Carrier, bytes: Buffer): void;
    drain(socket: Carrier): void;
    end(socket: Carrier): void;
    close(socket: Carrier): void;
    error(socket: Carrier): void;
  };
}) => { stop(close_all?: boolean): void };

type Carrier = Socket & { data: Connection; setNoDelay(on: boolean): unknown };

export interface Listening {
  /**
   * Takes no more connections, ends those that are idle, answers what has come, gives what has
   * begun to come a moment, and resolves when the last connection is closed.
   */
  stop(): Promise<void>;
}

/** More than a gateway keeps open, and less than would take the memory of a service. */
const MOST_CONNECTIONS = 10_000;
/** How often connections are looked at. */
const CHECK_MS = 250;

/** @throws the system's error if the port is taken or the address is not ours */
export function listenAt(
  listen: Listen,
  hostname: string,
  port: number,
  door: Door,
  most = MOST_CONNECTIONS,
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
        socket.data = new Connection(socket, door);
        if (connections.size >= most) return socket.terminate();
        connections.add(socket.data);
        if (becameEmpty) socket.data.stop();
      },
      data: (socket, bytes) => socket.data.take(bytes),
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
