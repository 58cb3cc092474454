/** An HTTP proxy in front of Kassa that loses the first answer to each idempotency key. */
import { createServer, request } from 'node:http';
import { listen } from './process.ts';

/** The call has taken effect when the connection breaks, before a byte of its answer. */
export async function openLosingProxy(origin: string) {
  const keys = new Set<string>();
  const server = createServer((asked, reply) => {
    const { method, url = '/', headers } = asked;
    const key = headers['idempotency-key'];
    const lose = () => asked.socket.destroy(); // on Bun, reply.destroy() sends an empty 200
    const passed = request(`${origin}${url}`, { method, headers }, (answer) => {
      answer.on('error', lose);
      if (typeof key !== 'string' || keys.has(key)) {
        answer.pipe(reply.writeHead(answer.statusCode ?? 0, answer.headers));
        return;
      }
      keys.add(key);
      answer.resume().on('end', lose);
    });
    asked.pipe(passed.on('error', lose));
  });
  return {
    origin: `http://127.0.0.1:${await listen(server)}`,
    /** How many answers were lost. */
    lost: () => keys.size,
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}
