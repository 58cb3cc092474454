/** Opens a socket to one host of the store: TCP or a Unix path, and TLS. */
import { connect, type Socket } from 'node:net';
import { systemClock } from '../clock.ts';
import { Failure } from '../failure.ts';
import type { Tls } from './credentials.ts';
import { encrypt } from './tls.ts';

/** The hosts as the driver has parsed them. */
export type Target = { host: string[]; port: number[]; path?: string | false };

/**
 * Opens a socket to host number `at`. As in libpq, a Unix socket is never encrypted.
 * @throws Failure store_unavailable
 */
export function dial(
  target: Target,
  at: number,
  tls: Tls | undefined,
  timeout_ms: number,
): Promise<Socket> {
  const host = target.host[at] ?? 'localhost';
  const port = Number(target.port[at] ?? target.port[0]);
  return new Promise((resolve, reject) => {
    const socket = target.path ? connect(target.path) : connect({ host, port, noDelay: true });
    const fail = (cause?: unknown) => {
      stopTimer();
      socket.destroy();
      const none = new Failure('store_unavailable', `no answer from ${host}:${port}`, { cause });
      reject(cause instanceof Failure ? cause : none);
    };
    const stopTimer = systemClock.after(timeout_ms, fail);
    socket.on('error', fail);
    socket.once('connect', async () => {
      try {
        const ready = tls && !target.path ? await encrypt(socket, host, tls) : socket;
        stopTimer();
        if (ready === socket) socket.off('error', fail);
        resolve(ready);
      } catch (cause) {
        fail(cause);
      }
    });
  });
}
