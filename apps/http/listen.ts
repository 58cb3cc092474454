/** A port and its connections, by `node:net`; why not the runtime's own server: ARCHITECTURE.md. */
import { createServer } from 'node:net';
import { Connection } from './connection.ts';
import type { Door } from './door.ts';

export interface Listening {
  /**
   * Takes no more connections, ends those that are idle, answers what has come, gives what has
   * begun to come a moment, and resolves when the last connection is closed.
   */
  stop(): Promise<void>;
}

/** How often connections are looked at. */
const CHECK_MS = 250;

/** Rejects with the system's error if the port is taken or the address is not ours. */
export function listen(hostname: string, port: number, door: Door): Promise<Listening> {
  const connections = new Set<Connection>();
  let stopping = false;
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    const connection = new Connection(socket, door);
    connections.add(connection);
    socket.on('close', () => connections.delete(connection));
    if (stopping) connection.stop();
  });
  const timer = setInterval(() => {
    const now = performance.now();
    for (const connection of connections) connection.checkTime(now);
  }, CHECK_MS);

  const stop = () =>
    new Promise<void>((resolve) => {
      stopping = true;
      server.close(() => {
        clearInterval(timer);
        resolve();
      });
      for (const connection of connections) connection.stop();
    });

  return new Promise((resolve, reject) => {
    server.on('error', (error) => {
      if (!server.listening) clearInterval(timer);
      reject(error);
    });
    server.listen(port, hostname, () => resolve({ stop }));
  });
}
