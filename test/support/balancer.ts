/** A minimal load balancer: it probes replicas for readiness at intervals, and never retries. */
import { connect, createServer, type Socket } from 'node:net';
import { call, freePort } from './process.ts';

export interface Balancer {
  port: number;
  /** Requests that each replica has answered, by its port. */
  answered: Map<number, number>;
  /** The replicas that were ready at the last probe. */
  ready(): number[];
  close(): void;
}

/**
 * Expects requests without bodies and answers with a length, like Kassa's. It keeps connections to
 * the replicas open, as real balancers do; any failure of one is a 502 for the caller.
 */
export async function openBalancer(ports: number[], check_every_ms: number): Promise<Balancer> {
  const answered = new Map(ports.map((port) => [port, 0]));
  const idle = new Map<number, Socket[]>(ports.map((port) => [port, []]));
  let ready: number[] = [];
  let turn = 0;
  const look = () =>
    Promise.all(
      ports.map(async (port) => {
        const { status } = await call(port, 'GET', '/health/ready');
        ready = ready.filter((other) => other !== port).concat(status === 200 ? [port] : []);
      }),
    );
  await look();
  const timer = setInterval(look, check_every_ms);

  const pass = async (request: string): Promise<string> => {
    const port = ready[turn++ % ready.length];
    if (port === undefined) return BAD_GATEWAY;
    const socket = idle.get(port)?.pop() ?? dial(port);
    const answer = await exchange(socket, request);
    if (answer === undefined) return BAD_GATEWAY;
    answered.set(port, (answered.get(port) ?? 0) + 1);
    if (CLOSES.test(answer)) return answer.replace(CLOSES, '\r\n'); // hop-by-hop
    idle.get(port)?.push(socket);
    return answer;
  };
  const dial = (port: number): Socket => {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => {});
    socket.on('close', () => {
      idle.set(port, idle.get(port)?.filter((other) => other !== socket) ?? []);
    });
    return socket;
  };
  const server = createServer((client) => {
    let request = '';
    client.on('error', () => {});
    client.on('data', async (bytes) => {
      request += bytes;
      if (!request.endsWith('\r\n\r\n')) return;
      const whole = request;
      request = '';
      client.write(await pass(whole));
    });
  });
  const port = await freePort();
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  const close = () => {
    clearInterval(timer);
    server.close();
    for (const sockets of idle.values()) for (const socket of sockets) socket.destroy();
  };
  return { port, answered, ready: () => ready, close };
}

const BAD_GATEWAY = 'HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n';
const CLOSES = /\r\nconnection: close\r\n/i;

/** One request and its answer, or undefined if the connection ends before. */
function exchange(socket: Socket, request: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    let answer = '';
    const settle = (outcome: string | undefined) => {
      socket.off('data', take).off('close', lose);
      resolve(outcome);
    };
    const lose = () => settle(undefined);
    const take = (bytes: Buffer) => {
      answer += bytes;
      const end = answer.indexOf('\r\n\r\n');
      const length = Number(/\r\ncontent-length: (\d+)/i.exec(answer)?.[1]);
      if (end >= 0 && answer.length - end - 4 >= length) settle(answer);
    };
    socket.on('data', take).on('close', lose);
    socket.write(request);
  });
}
