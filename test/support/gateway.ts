/** Shared by the tests of gateway and balancer: starts the real programs on edited files. */
import { expect } from 'bun:test';
import { chmod } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { text } from '../deploy/manifests/read.ts';
import { type Child, freePort, type Stage, until } from './process.ts';

/** The names of the template's variables, such as `KASSA_LISTEN`. */
export const variablesOf = (template: string): string[] => [
  ...new Set(
    [...template.replaceAll(/^\s*#.*$/gm, '').matchAll(/\$\{(\w+)\}/g)].map(
      ([, name = '']) => name,
    ),
  ),
];

/** As the image does at its start: replaces `${KASSA_…}` and nothing else. */
const fill = (template: string, values: Record<string, string>): string =>
  template.replaceAll(/\$\{(KASSA_\w+)\}/g, (_, name) => values[name] ?? '');

export interface Gateway {
  port: number;
  origin: string;
  child: Child;
  close(): Promise<void>;
}

/** @param servers the addresses of each service's replicas, such as `127.0.0.1:8001` */
export async function openGateway(
  nginx: string,
  stage: Stage,
  servers: { order: string[]; payment: string[]; stock: string[] },
  edit = (configuration: string) => configuration,
): Promise<Gateway> {
  const [folder, port] = [await stage.folder(), await freePort()];
  await chmod(folder, 0o777); // started by root, nginx runs its workers as another user
  const path = join(folder, 'gateway.conf');
  const values = {
    KASSA_LISTEN: `127.0.0.1:${port}`,
    KASSA_RESOLVER: '127.0.0.1',
    KASSA_TMP: folder,
    KASSA_ACCESS_LOG: join(folder, 'access.log'),
  };
  const template = withReplicas(await text('deploy/nginx.conf'), servers);
  await Bun.write(path, edit(fill(template, values)));
  const child = stage.start(['-e', 'stderr', '-c', path], {}, nginx);
  const origin = `http://127.0.0.1:${port}`;
  await until(async () => {
    if (child.code !== undefined) throw new Error(`nginx ended: ${child.err}`);
    return fetch(`${origin}/health`).then(
      ({ ok }) => ok,
      () => false,
    );
  }, 'the gateway');
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
  template.replaceAll(/^.*\$\{KASSA_(ORDER|PAYMENT|STOCK)\}.*\n/gm, (line, name: string) => {
    if (line.trimStart().startsWith('#')) return line;
    const addresses = servers[name.toLowerCase()] ?? [];
    return addresses.map((address) => line.replace(/\$\{\w+\}/, address)).join('');
  });

export interface Raw {
  status: number;
  headers: [name: string, value: string][];
  body: string;
}

/** Sends these bytes on a new connection, and reads until it ends. */
export function exchange(port: number, bytes: string): Promise<Raw> {
  return new Promise((resolve, reject) => {
    let all = '';
    const finish = () => (all === '' ? reject(new Error('no answer')) : resolve(parse(all)));
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes));
    socket.setEncoding('latin1');
    socket.on('data', (part) => (all += part));
    socket.on('error', finish).on('end', finish);
  });
}

function parse(answer: string): Raw {
  const [head = '', ...rest] = answer.split('\r\n\r\n');
  const [first = '', ...lines] = head.split('\r\n');
  const headers = lines.map((line): [string, string] => {
    const at = line.indexOf(':');
    return [line.slice(0, at).toLowerCase(), line.slice(at + 1).trim()];
  });
  return { status: Number(first.split(' ')[1]), headers, body: rest.join('\r\n\r\n') };
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
export function expectOnce({ headers }: Raw): void {
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
  const port = await freePort();
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
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
