/** A socket to one of the store's hosts: TCP or a path, and TLS. */
import { connect, type Socket } from 'node:net';
import { Failure } from '../failure.ts';
import type { Tls } from './credentials.ts';
import { encrypt } from './tls.ts';

/** What the driver has made of the URL. */
export type Target = { host: string[]; port: number[]; path?: string | false };

/**
 * A socket to the host at this place in the URL. One in the file system is never encrypted, as with
 * libpq. @throws Failure store_unavailable
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
    const give_up = (cause?: unknown) => {
      clearTimeout(timer);
      socket.destroy();
      const none = new Failure('store_unavailable', `no answer from ${host}:${port}`, { cause });
      reject(cause instanceof Failure ? cause : none);
    };
    const timer = setTimeout(give_up, timeout_ms);
    socket.on('error', give_up);
    socket.once('connect', async () => {
      try {
        const ready = tls && !target.path ? await encrypt(socket, host, tls) : socket;
        clearTimeout(timer);
        if (ready === socket) socket.off('error', give_up);
        resolve(ready);
      } catch (cause) {
        give_up(cause);
      }
    });
  });
}
