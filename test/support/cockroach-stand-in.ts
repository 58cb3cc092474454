/**
 * A stand-in for the CockroachDB binary. It records its calls and behaves like the real one from
 * outside. The first argument is a folder whose files control its behaviour and name its version;
 * it refuses what that version does not support.
 */
import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createConnection, createServer } from 'node:net';
import { join } from 'node:path';

const [folder = '', ...args] = process.argv.slice(2);
const at = (name: string) => join(folder, name);
const flag = (name: string) =>
  args.find((arg) => arg.startsWith(`--${name}=`))?.slice(name.length + 3) ?? '';
const portOf = (address: string) => Number(address.split(':').at(-1));

const version = readFileSync(at('version'), 'utf8');
const [year = 0, number = 0] = version.slice(1).split('.').map(Number); // 0 or NaN: unknown
/** An unknown version (0) counts as current. */
const before = (other_year: number, other: number) =>
  year > 0 && (year < other_year || (year === other_year && number < other));

appendFileSync(at('calls'), `${JSON.stringify(args)}\n`);
if (before(21, 2) && flag('store').includes('ballast-size')) {
  const why = 'flag: ballast-size is not a valid store field';
  fail(`Error: invalid argument "${flag('store')}" for "-s, --store" ${why}`);
}
if (before(20, 2) && args.some((arg) => arg.includes('createdb'))) {
  fail('ERROR: at or near "createdb": syntax error\nSQLSTATE: 42601');
}
if (args[0] === 'start') start();
else if (!(await listens(portOf(flag('host'))))) fail('ERROR: cannot dial server.\nIs it running?');
else if (args[0] === 'init') init();
else if (args[0] === 'sql' && !existsSync(at('initialised'))) fail('ERROR: server is not ready');
else if (args[0] === 'sql' && args.some((arg) => arg.includes('cluster setting'))) {
  if (existsSync(at('refuses-settings'))) fail('ERROR: no such setting\nSQLSTATE: 42704');
}

/** Listens on both ports, and forwards SQL to the server on `store-port`, if there is one. */
function start(): void {
  if (existsSync(at('broken')))
    fail('*\n* ERROR: the store is of a newer version\n*\nFailed running "start"');
  if (existsSync(at('stubborn'))) process.on('SIGTERM', () => {});
  console.log('CockroachDB node starting');
  const store = existsSync(at('store-port')) ? Number(readFileSync(at('store-port'), 'utf8')) : 0;
  createServer((client) => {
    client.on('error', () => {});
    const server = createConnection({ host: '127.0.0.1', port: store }); // port 0 fails
    server.on('error', () => client.destroy());
    client.on('close', () => server.destroy());
    client.pipe(server).pipe(client);
  }).listen(portOf(flag('listen-addr')), '127.0.0.1');
  Bun.serve({
    hostname: '127.0.0.1',
    port: portOf(flag('http-addr')),
    fetch: (request) =>
      request.url.endsWith('/health?ready=1') && !existsSync(at('initialised'))
        ? new Response('{}', { status: 503 })
        : new Response('{}'),
  });
}

function init(): void {
  if (existsSync(at('initialised'))) {
    fail('ERROR: cluster has already been initialized\nFailed running "init"');
  }
  writeFileSync(at('initialised'), '');
  console.log('Cluster successfully initialized');
}

function listens(port: number): Promise<boolean> {
  return new Promise((done) => {
    const probe = createConnection({ host: '127.0.0.1', port });
    probe.once('connect', () => done(true)).once('error', () => done(false));
    probe.once('connect', () => probe.destroy());
  });
}

function fail(why: string): never {
  console.error(why);
  process.exit(1);
}
