/** Shared by the tests of gateway and balancer: starts the real programs on edited files. */
import { expect } from 'bun:test';
import { chmod } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import { text } from '../deploy/manifests/read.ts';
import { need } from './need.ts';
import { answers, freePort, listen, type Stage } from './process.ts';
import { parseHead } from './raw.ts';
import type { ServiceName } from './services.ts';

export const nginx = need('nginx', 'apt-get install nginx-light');

/** The names of the template's variables, such as `KASSA_LISTEN`. */
export const variablesOf = (template: string): string[] => {
  const names = template.replaceAll(/^\s*#.*$/gm, '').matchAll(/\$\{(\w+)\}/g);
  return [...new Set(names.map(([, name = '']) => name))];
};

export type Gateway = Awaited<ReturnType<typeof openGateway>>;

/** @param servers the addresses of each service's replicas, such as `127.0.0.1:8001` */
export async function openGateway(
  stage: Stage,
  servers: Record<ServiceName, string[]>,
  edit = (configuration: string) => configuration,
) {
  const [folder, port] = [await stage.folder(), await freePort()];
  await chmod(folder, 0o777); // started by root, nginx runs its workers as another user
  const path = join(folder, 'gateway.conf');
  const values: Record<string, string> = {
    KASSA_LISTEN: `127.0.0.1:${port}`,
    KASSA_RESOLVER: '127.0.0.1',
    KASSA_TMP: folder,
    KASSA_ACCESS_LOG: join(folder, 'access.log'),
  };
  const template = withReplicas(await text('deploy/nginx.conf'), servers);
  // As the image does at its start: replaces `${KASSA_…}` and nothing else.
  const filled = template.replaceAll(/\$\{(KASSA_\w+)\}/g, (_, name) => values[name] ?? '');
  await Bun.write(path, edit(filled));
  const child = stage.start(['-e', 'stderr', '-c', path], {}, nginx);
  const origin = `http://127.0.0.1:${port}`;
  await answers(child, port, '/health');
  return {
    port,
    origin,
    child,
    async close() {
      child.signal('SIGTERM'); // SIGKILL would leave its workers running
      await child.ended;
    },
  };
}

/** One line for each replica, as nginx does for a name with several addresses. */
const withReplicas = (template: string, servers: Record<string, string[]>): string =>
  template.replaceAll(
    /^.*\$\{KASSA_(ORDER|PAYMENT|STOCK|WEBHOOKS)\}.*\n/gm,
    (line, name: string) => {
      if (line.trimStart().startsWith('#')) return line;
      const addresses = servers[name.toLowerCase()] ?? [];
      return addresses.map((address) => line.replace(/\$\{\w+\}/, address)).join('');
    },
  );

/**
 * Sends these bytes on a new connection, and reads until it ends. @throws Error without an answer
 */
export async function exchange(port: number, bytes: string) {
  const socket = connect(port, '127.0.0.1', () => socket.write(bytes));
  let all = '';
  socket.setEncoding('latin1').on('data', (part) => (all += part));
  await finished(socket, { writable: false }).catch(() => {}); // what has arrived counts
  if (all === '') throw new Error('no answer');
  const [head = '', ...rest] = all.split('\r\n\r\n');
  return { ...parseHead(head), body: rest.join('\r\n\r\n') };
}

export const request = (method: string, target: string, more = ''): string =>
  `${method} ${target} HTTP/1.1\r\nHost: kassa\r\nConnection: close\r\n${more}\r\n`;

/** Headers of every answer, from the gateway itself or from a service. */
const ALWAYS = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-request-id': expect.stringMatching(/^[\w=-]{1,128}$/),
};

/** Expects all of them, no header twice, and no version of the server. */
export function expectOnce({ headers }: Awaited<ReturnType<typeof exchange>>): void {
  expect(Object.fromEntries(headers)).toMatchObject({ ...ALWAYS, server: 'nginx' });
  const names = headers.map(([name]) => name).sort();
  expect(names).toEqual([...new Set(names)]);
}

/** A stand-in for a service that records requests and counts connections. */
export async function openStandIn(answer: (asked: IncomingMessage, reply: ServerResponse) => void) {
  const asked: IncomingMessage[] = [];
  let connections = 0;
  const server = createServer((incoming, reply) => {
    asked.push(incoming);
    answer(incoming, reply);
  });
  server.on('connection', () => connections++);
  server.keepAliveTimeout = 120_000; // as long as a service's
  const port = await listen(server);
  return {
    address: `127.0.0.1:${port}`,
    port,
    asked,
    connections: () => connections,
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}
