/** A minimal load balancer: it probes replicas for readiness at intervals, and never retries. */
import { Agent, createServer, request } from 'node:http';
import { text } from 'node:stream/consumers';
import { call, listen } from './process.ts';

export type Balancer = Awaited<ReturnType<typeof openBalancer>>;

/**
 * Expects requests without bodies. It keeps connections to the replicas open, as real balancers do;
 * any failure of one is a 502 for the caller.
 */
export async function openBalancer(ports: number[], check_every_ms: number) {
  /** Requests that each replica has answered, by its port. */
  const answered = new Map(ports.map((port) => [port, 0]));
  const agent = new Agent({ keepAlive: true });
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
  const server = createServer(({ method, url: path, headers }, reply) => {
    const fail = () => void reply.writeHead(502).end();
    const port = ready[turn++ % ready.length];
    if (port === undefined) return fail();
    const to = { agent, host: '127.0.0.1', port, method, path, headers };
    const passed = request(to, (answer) => {
      text(answer).then((body) => {
        answered.set(port, (answered.get(port) ?? 0) + 1);
        reply.writeHead(answer.statusCode ?? 0).end(body);
      }, fail);
    });
    passed.on('error', fail).end();
  });
  const port = await listen(server);
  const close = () => {
    clearInterval(timer);
    server.closeAllConnections();
    server.close();
    agent.destroy();
  };
  return { port, answered, close };
}
