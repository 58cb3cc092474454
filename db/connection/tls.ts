/** Encrypts a socket before the driver gets it; it never falls back to an unencrypted one. */
import { isIP, type Socket } from 'node:net';
import { checkServerIdentity, connect, type TLSSocket } from 'node:tls';
import { codeOf, Failure } from '../failure.ts';
import type { Tls } from './credentials.ts';

/** SSLRequest. The store answers with one byte: S for yes, N for no. */
const SSL_REQUEST = Buffer.of(0, 0, 0, 8, 4, 210, 22, 47);

/**
 * Resolves when the store has presented a valid certificate. The driver's own TLS would use
 * `localhost` as the name of an IP address, and start a handshake after the store has answered N.
 * The caller handles errors of the socket until this resolves.
 * https://www.postgresql.org/docs/18/protocol-flow.html#PROTOCOL-FLOW-SSL
 * @throws Failure store_unavailable
 */
export async function encrypt(socket: Socket, host: string, tls: Tls): Promise<TLSSocket> {
  const answer = await new Promise<Buffer>((resolve, reject) => {
    socket.once('data', resolve);
    socket.once('close', () => reject(refused(host, 'closed the connection when asked for TLS')));
    socket.write(SSL_REQUEST);
  });
  if (answer.toString('latin1') === 'N') throw refused(host, 'does not offer TLS');
  // More than one byte: a man in the middle has injected plain text before the handshake.
  if (answer.toString('latin1') !== 'S') throw refused(host, 'answers TLS with something else');
  return new Promise((resolve, reject) => {
    const secure = connect({
      socket,
      host,
      ...(isIP(host) === 0 && { servername: host }),
      secureContext: tls.context,
      rejectUnauthorized: tls.verify_issuer,
      checkServerIdentity: (_, certificate) =>
        tls.verify_host ? checkServerIdentity(host, certificate) : undefined,
    });
    const fail = (cause?: unknown) => {
      secure.destroy();
      reject(refused(host, `failed in TLS (${codeOf(cause) || 'closed'})`, cause));
    };
    secure.once('error', fail);
    secure.once('close', fail);
    secure.once('secureConnect', () => {
      secure.off('error', fail);
      secure.off('close', fail);
      resolve(secure);
    });
  });
}

const refused = (host: string, what: string, cause?: unknown) =>
  new Failure('store_unavailable', `${host} ${what}`, { cause });
