/** Where webhooks are sent, and how far: addresses, redirects, time and size. */
import { afterEach, expect, test } from 'bun:test';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { networksIn } from '../../apps/http/networks.ts';
import { senderTo } from '../../apps/webhooks/send.ts';
import { newAuthority } from '../support/certificates.ts';
import { openUntil } from '../support/open.ts';
import { freePort, listen, openStage } from '../support/process.ts';
import { LOOPBACK, openReceiver, verify } from '../support/receiver.ts';

const open = openUntil(afterEach);
const SECRETS = [{ secret: `whsec_${btoa('a'.repeat(32))}`, until_s: null }];
const MESSAGE = { id: '1-2-3', payload: '{"data":{}}' };
const never = new AbortController().signal;

async function sendTo(url: string, networks = LOOPBACK, signal = never) {
  const sender = senderTo(url, SECRETS, networksIn(networks), 4);
  return sender.send(MESSAGE, signal).finally(() => sender.close());
}
const receiver = (answer?: Parameters<typeof openReceiver>[0]) =>
  open.closing(openReceiver(answer));

/** A server that answers every connection with these bytes, again and again. */
async function openRaw(first: string, more = ''): Promise<number> {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => {
      socket.write(first);
      if (more === '') return;
      const go = () => {
        while (!socket.destroyed && socket.write(more));
        if (!socket.destroyed) socket.once('drain', go);
      };
      go();
    });
  });
  open.closing({ close: async () => server.close() });
  return listen(server);
}

test('a name that leads to this machine is refused when the connection is made', async () => {
  const { url, taken } = receiver();
  const named = url.replace('127.0.0.1', 'localhost').replace('http:', 'https:');
  for (const networks of ['', '10.0.0.0/8']) {
    expect(await sendTo(named, networks)).toMatchObject({
      error: expect.stringContaining('address'),
    });
  }
  // It is resolved, and refused, even if http to other networks is allowed.
  const http = await sendTo(url.replace('127.0.0.1', 'localhost'), '10.0.0.0/8');
  expect(http).toMatchObject({ error: expect.stringContaining('address') });
  expect(taken).toEqual([]);
  expect(await sendTo(url.replace('127.0.0.1', 'localhost'))).toBe('delivered');
});

test('an address in the URL is checked at each request, so a stricter configuration holds at once', async () => {
  const { url, taken } = receiver();
  expect(await sendTo(url, '')).toMatchObject({ error: expect.stringContaining('address') });
  expect(taken).toEqual([]);
});

test('a redirect is a failure, and nobody follows it', async () => {
  const other = receiver();
  for (const status of [301, 302, 303, 307, 308]) {
    const { url } = receiver(
      () => new Response(null, { status, headers: { location: other.url } }),
    );
    expect(await sendTo(url)).toEqual({ error: `the receiver answered ${status}` });
  }
  expect(other.taken).toEqual([]);
});

/** Sends to it from a process with these variables, and resolves to what it says. */
async function sendFromChild(url: string, variables: Record<string, string>): Promise<string> {
  const code = `
    import { senderTo } from './apps/webhooks/send.ts';
    import { networksIn } from './apps/http/networks.ts';
    const sender = senderTo('${url}', ${JSON.stringify(SECRETS)}, networksIn('${LOOPBACK}'), 1);
    const sent = await sender.send(${JSON.stringify(MESSAGE)}, new AbortController().signal);
    console.log(sent.error ?? sent);
    process.exit();`;
  const child = Bun.spawn([process.execPath, '-e', code], { env: { ...Bun.env, ...variables } });
  return (await new Response(child.stdout).text()).trim();
}

test('the variables for proxies of other programs do not lead requests elsewhere', async () => {
  const { url } = receiver();
  const port = await freePort();
  const proxies = ['HTTP_PROXY', 'http_proxy', 'HTTPS_PROXY', 'https_proxy', 'ALL_PROXY'];
  const variables = Object.fromEntries(proxies.map((name) => [name, `http://127.0.0.1:${port}`]));
  expect(await sendFromChild(url, variables)).toBe('delivered');
});

test('an answer that never ends is not read, nor a head that never ends', async () => {
  const body = await openRaw(
    'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n',
    `400\r\n${'x'.repeat(1024)}\r\n`,
  );
  expect(await sendTo(`http://127.0.0.1:${body}/`)).toBe('delivered');
  const head = await openRaw('HTTP/1.1 200 OK\r\n', `x-a: ${'x'.repeat(1000)}\r\n`);
  expect(await sendTo(`http://127.0.0.1:${head}/`)).toMatchObject({ error: expect.any(String) });
});

test('nonsense, silence, a closed port and an end without an answer are failures', async () => {
  const ports = [
    await openRaw('SSH-2.0-x\r\n'),
    await openRaw('HTTP/1.1 999 OK\r\n\r\n'),
    await freePort(),
  ];
  for (const port of ports) {
    expect(await sendTo(`http://127.0.0.1:${port}/`)).toMatchObject({ error: expect.any(String) });
  }
  const upgrade = 'HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n';
  const error = 'the receiver answered 101';
  expect(await sendTo(`http://127.0.0.1:${await openRaw(upgrade)}/`)).toEqual({ error });
  const silent = await openRaw('');
  const began_at = performance.now();
  const reply = await sendTo(`http://127.0.0.1:${silent}/`);
  expect(reply).toEqual({ error: 'no answer within 10 s' });
  expect(performance.now() - began_at).toBeGreaterThan(9900);
});

test('events go only to a certificate of a trusted authority, for the name of the URL', async () => {
  const authority = await newAuthority('authority of receivers');
  const certificate = await authority.issue({ name: 'receiver', hosts: ['localhost'] });
  const { url, taken } = open.closing(openReceiver(() => 200, certificate));
  const other = url.replace('localhost', '127.0.0.1');
  const error = 'the certificate is not valid for the host';
  expect(await sendTo(url)).toEqual({ error });
  const file = join(await open.closing(openStage()).folder(), 'authority.crt');
  await writeFile(file, authority.cert);
  const trusted = { NODE_EXTRA_CA_CERTS: file };
  expect(await sendFromChild(other, trusted)).toBe(error);
  expect(taken).toEqual([]);
  expect(await sendFromChild(url, trusted)).toBe('delivered');
});

test('whoever asks for a later attempt is heard, up to a day', async () => {
  const asks = (value: string) =>
    receiver(() => new Response(null, { status: 429, headers: { 'retry-after': value } }));
  const error = 'the receiver answered 429';
  expect(await sendTo(asks('120').url)).toEqual({ error, retry_after_s: 120 });
  expect(await sendTo(asks('99999999').url)).toEqual({ error, retry_after_s: 86_400 });
  expect(await sendTo(asks('soon').url)).toEqual({ error });
});

test('a secret signs as long as it is valid', async () => {
  const { url, taken } = receiver();
  const now_s = Math.floor(Date.now() / 1000);
  const [old, valid, newest] = ['b', 'c', 'd'].map((one) => `whsec_${btoa(one.repeat(32))}`);
  const secrets = [
    { secret: String(newest), until_s: null },
    { secret: String(valid), until_s: now_s + 60 },
    { secret: String(old), until_s: now_s },
  ];
  const sender = senderTo(url, secrets, networksIn(LOOPBACK), 1);
  expect(await sender.send(MESSAGE, never)).toBe('delivered');
  sender.close();
  const [one] = taken;
  expect(one?.headers.get('webhook-signature')?.split(' ')).toHaveLength(2);
  for (const secret of [valid, newest]) if (one) verify(one, String(secret));
});

test('a worker that loses its lease cuts off what is under way', async () => {
  const { url } = receiver(() => Bun.sleep(3000).then(() => 200));
  const lost = new AbortController();
  setTimeout(() => lost.abort(), 50);
  expect(await sendTo(url, LOOPBACK, lost.signal)).toEqual({ error: 'the worker stopped' });
});

test('without a valid secret nothing is sent', async () => {
  const { url, taken } = receiver();
  const sender = senderTo(
    url,
    [{ secret: SECRETS[0]?.secret ?? '', until_s: 1 }],
    networksIn(LOOPBACK),
    1,
  );
  expect(await sender.send(MESSAGE, never)).toEqual({ error: 'the endpoint has no secret' });
  sender.close();
  expect(taken).toEqual([]);
});
