/** A socket to one of the store's hosts: TCP or a path, and TLS. */
import { connect as dial, type Socket } from 'node:net';
import type { Tls } from './credentials.ts';
import { Failure } from './failure.ts';
import { encrypt } from './tls.ts';

/** What the driver has made of the URL. */
export type Target = { host: string[]; port: number[]; path?: string | false };

/** The first of the URL's hosts that answers, starting anywhere, so that connections spread. */
export async function dialFirst(
  target: Target,
  tls: Tls | undefined,
  timeout_ms: number,
): Promise<Socket> {
  const first = Math.floor(Math.random() * target.host.length);
  let failure: unknown;
  for (let i = 0; i < target.host.length; i++) {
    const at = (first + i) % target.host.length;
    try {
      return await dialOne(target, at, tls, timeout_ms / target.host.length);
    } catch (error) {
      failure = error;
    }
  }
  throw failure;
}

/** A socket in the file system is never encrypted, as with libpq. */
function dialOne(
  target: Target,
  at: number,
  tls: Tls | undefined,
  timeout_ms: number,
): Promise<Socket> {
  const host = target.host[at] ?? 'localhost';
  const port = Number(target.port[at] ?? target.port[0]);
  return new Promise((resolve, reject) => {
    const socket = target.path ? dial(target.path) : dial({ host, port, noDelay: true });
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
