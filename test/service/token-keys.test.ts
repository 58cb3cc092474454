/** The keys of the issuer are read, kept and read again, whatever happens to their server. */
import { afterEach, expect, test } from 'bun:test';
import { rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { generateKeyPair } from 'jose';
import { tokenReader } from '../../apps/auth/tokens.ts';
import {
  AUDIENCE,
  ISSUER,
  type Key,
  NOT_READY,
  NOT_VALID,
  newKey,
  openIssuer,
  openReader,
  signed,
} from '../support/issuer.ts';
import { openUntil } from '../support/open.ts';
import { freePort, openStage, TOP } from '../support/process.ts';

const stage = openStage();
afterEach(() => stage.clear());
const open = openUntil(afterEach);
const issue = (...keys: Key[]) => open.closing(openIssuer(...keys));
const [first, second, third] = await Promise.all([
  ...[newKey('ES256', 'first'), newKey('ES256', 'second'), newKey('RS256', 'third')],
] as const);
const [SECOND, MINUTE] = [1000, 60_000];

test('many calls at the start share one request for the keys', async () => {
  const issuer = issue(first);
  const { outcome } = openReader(issuer.url);
  const token = await signed(first);
  const outcomes = await Promise.all(Array.from({ length: 50 }, () => outcome(token)));
  expect([new Set(outcomes), issuer.requests]).toEqual([new Set(['ok']), 1]);
});

test('a token without kid needs the one key that fits', async () => {
  const token = await signed(first, {}, { kid: undefined });
  const one = issue(first, third);
  expect(await openReader(one.url).outcome(token)).toBe('ok');
  const two = issue(first, second);
  expect(await openReader(two.url).outcome(token)).toBe(NOT_VALID);
  const other = issue(second);
  expect(await openReader(other.url).outcome(token)).toBe(NOT_VALID);
  const { kid: _, ...unnamed } = first.jwk;
  other.keys = [unnamed];
  expect(await openReader(other.url).outcome(token)).toBe('ok');
});

test('a new key is found with its first token, by one request', async () => {
  const issuer = issue(first);
  const { outcome, clock } = openReader(issuer.url);
  expect(await outcome(await signed(first))).toBe('ok');
  issuer.keys.push(second.jwk);
  const token = await signed(second);
  expect(await outcome(token)).toBe(NOT_VALID); // they were read a moment ago
  clock.now_ms += 10 * SECOND;
  const outcomes = await Promise.all(Array.from({ length: 50 }, () => outcome(token)));
  expect([new Set(outcomes), issuer.requests]).toEqual([new Set(['ok']), 2]);
  expect(await outcome(await signed(first))).toBe('ok');
});

test('tokens with invented names of keys cause a request in ten seconds', async () => {
  const issuer = issue(first);
  const { outcome, clock } = openReader(issuer.url);
  expect(await outcome(await signed(first))).toBe('ok');
  for (let second = 0; second < 60; second++) {
    clock.now_ms += SECOND;
    for (const kid of ['a', 'b', 'c']) {
      expect(await outcome(await signed(first, {}, { kid: kid + second }))).toBe(NOT_VALID);
    }
  }
  expect(issuer.requests).toBe(1 + 6);
});

test('a key that the issuer has removed counts for five minutes at most, in memory too', async () => {
  const issuer = issue(first, second);
  const { outcome, clock } = openReader(issuer.url);
  const token = await signed(first);
  expect(await outcome(token)).toBe('ok');
  issuer.keys.shift();
  clock.now_ms += 5 * MINUTE; // nobody has called meanwhile
  expect(await outcome(token)).toBe(NOT_VALID);
  expect(await outcome(await signed(second))).toBe('ok');
  issuer.keys = [];
  clock.now_ms += 5 * MINUTE;
  expect(await outcome(await signed(second))).toBe(NOT_VALID);
});

test('in steady use the keys are read again without a call that waits', async () => {
  const issuer = issue(first);
  const { outcome, clock } = openReader(issuer.url);
  const token = await signed(first);
  expect(await outcome(token)).toBe('ok');
  const { promise, resolve } = Promise.withResolvers<Response>();
  issuer.answer = () => promise;
  clock.now_ms += 2 * MINUTE;
  for (let i = 0; i < 3; i++) expect(await outcome(await signed(first))).toBe('ok');
  resolve(Response.json({ keys: [second.jwk] }));
  await until(async () => (await outcome(token)) === NOT_VALID);
  expect(issuer.requests).toBe(2);
});

test('without its keys a service refuses nobody; the first that can be read count', async () => {
  const port = await freePort();
  const { outcome, clock, log } = openReader(`http://127.0.0.1:${port}/`);
  const token = await signed(first);
  for (let i = 0; i < 3; i++) {
    expect(await outcome(token)).toBe(NOT_READY);
    clock.now_ms += SECOND;
  }
  expect(await outcome('nonsense')).toBe(NOT_VALID);
  expect(log.filter(({ level }) => level === 'warn').length).toBe(1);
  const server = Bun.serve({
    ...{ port, hostname: '127.0.0.1' },
    fetch: () => Response.json({ keys: [first.jwk] }),
  });
  open.closing({ close: () => server.stop(true) });
  expect(await outcome(token)).toBe('ok');
  expect(log.at(-1)?.event).toBe('issuer_keys_read_again');
});

test('keys that are known go on for an hour while the issuer is away', async () => {
  const issuer = issue(first);
  const { outcome, clock } = openReader(issuer.url);
  expect(await outcome(await signed(first))).toBe('ok');
  issuer.answer = () => new Response('down', { status: 502 });
  for (let minute = 0; minute < 59; minute++) {
    clock.now_ms += MINUTE;
    expect(await outcome(await signed(first))).toBe('ok');
  }
  // It may be a new one: nobody can tell.
  expect(await outcome(await signed(second))).toBe(NOT_READY);
  clock.now_ms += MINUTE;
  expect(await outcome(await signed(first))).toBe(NOT_READY);
  issuer.answer = () => Response.json({ keys: issuer.keys });
  clock.now_ms += SECOND;
  expect(await outcome(await signed(first))).toBe('ok');
});

const drip = () => {
  const body = new ReadableStream({
    async pull(controller) {
      await Bun.sleep(100);
      controller.enqueue(new TextEncoder().encode(' '));
    },
  });
  return new Response(body);
};
const endless = () => {
  const chunk = new Uint8Array(65_536).fill(0x20);
  return new Response(new ReadableStream({ pull: (controller) => controller.enqueue(chunk) }));
};
const large = (key: Key) => `${JSON.stringify({ keys: [key.jwk] })}${' '.repeat(300_000)}`;

test.each<[name: string, answer: () => Response | Promise<Response>]>([
  ['nothing', () => new Promise<Response>(() => {})],
  ['a byte now and then', drip],
  ['without end', endless],
  ['more than 256 KiB', () => new Response(large(first))],
  ['more than 256 KiB, compressed', () => compressed(large(first))],
  ['a page', () => new Response('<html>Welcome</html>')],
  ['nothing at all', () => new Response('')],
  ['status 204', () => new Response(null, { status: 204 })],
  ['status 404', () => Response.json({ keys: [first.jwk] }, { status: 404 })],
  ['status 500', () => Response.json({ keys: [first.jwk] }, { status: 500 })],
  ...['null', '7', '[]', '{}', '{"keys":{}}', '{"keys":null}', '{"keys":[1]}', '{"keys":[[]]}'].map(
    (text): [string, () => Response] => [text, () => new Response(text)],
  ),
])('keys are not read from an answer that is %s', async (_, answer) => {
  const issuer = issue(first);
  issuer.answer = answer;
  const { outcome, clock, log } = openReader(issuer.url);
  expect(await outcome(await signed(first))).toBe(NOT_READY);
  expect(log.map(({ event }) => event)).toEqual(['issuer_keys_unreadable']);
  issuer.answer = () => Response.json({ keys: issuer.keys });
  clock.now_ms += SECOND;
  expect(await outcome(await signed(first))).toBe('ok');
});

const compressed = (text: string) =>
  new Response(Bun.gzipSync(text), { headers: { 'content-encoding': 'gzip' } });

test('redirects are not followed', async () => {
  const [issuer, elsewhere] = [issue(first), issue(first)];
  const { outcome, clock } = openReader(issuer.url);
  expect(await outcome(await signed(first))).toBe('ok');
  for (const status of [301, 302, 303, 307, 308]) {
    issuer.answer = () => Response.redirect(elsewhere.url, status);
    clock.now_ms += 61 * MINUTE;
    expect(await outcome(await signed(first))).toBe(NOT_READY);
  }
  expect([issuer.requests, elsewhere.requests]).toEqual([6, 0]);
});

test('a key that is no public key for signatures is ignored, and the others count', async () => {
  const issuer = issue(first, second, third);
  const weak = await weakKey();
  const secret = await crypto.subtle.exportKey('jwk', third.private_key);
  const [a, b, c] = issuer.keys;
  const { x: _, ...half } = b as { x: string };
  const oct = { kty: 'oct', kid: 'oct', k: 'c2VjcmV0', alg: 'HS256' };
  const unusable = [half, { ...secret, kid: 'third' }, weak.jwk, oct, { kty: 'P' }, {}] as never[];
  issuer.keys = [a as never, ...unusable, { ...c, kid: 'enc', use: 'enc' }];
  const { outcome, log } = openReader(issuer.url);
  expect(await outcome(await signed(first))).toBe('ok');
  expect(log.map(({ event, fields }) => [event, fields.kid])).toEqual([
    ['issuer_key_ignored', 'second'],
    ['issuer_key_ignored', 'third'],
    ['issuer_key_ignored', 'weak'],
  ]);
  expect(JSON.stringify(log)).not.toContain(String(secret.d));
  for (const key of [second, third, weak, { ...third, kid: 'enc' }]) {
    expect(await outcome(await signed(key))).toBe(NOT_VALID);
  }
});

async function weakKey(): Promise<Key> {
  const options = { modulusLength: 1024, extractable: true };
  const { privateKey, publicKey } = await generateKeyPair('RS256', options).catch(() =>
    crypto.subtle.generateKey(
      {
        ...{ name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256', modulusLength: 1024 },
        publicExponent: new Uint8Array([1, 0, 1]),
      },
      true,
      ['sign', 'verify'],
    ),
  );
  const { alg: _, ...jwk } = await crypto.subtle.exportKey('jwk', publicKey);
  const named = { ...jwk, kid: 'weak', key_ops: ['verify'] };
  return { alg: 'RS256', kid: 'weak', private_key: privateKey, public_key: publicKey, jwk: named };
}

test('keys in a file are read again when it has changed', async () => {
  const path = join(await stage.folder(), 'jwks.json');
  const { outcome, clock } = openReader(path);
  const [of_first, of_second] = [await signed(first), await signed(second)];
  expect(await outcome(of_first)).toBe(NOT_READY);
  await writeFile(path, JSON.stringify({ keys: [first.jwk] }));
  clock.now_ms += SECOND;
  expect(await outcome(of_first)).toBe('ok');
  expect(await outcome(of_second)).toBe(NOT_VALID);
  await writeFile(`${path}.new`, JSON.stringify({ keys: [second.jwk] }));
  await rename(`${path}.new`, path);
  clock.now_ms += SECOND;
  expect(await outcome(of_second)).toBe('ok'); // a new key at once
  expect(await outcome(of_first)).toBe(NOT_VALID);
  await writeFile(path, JSON.stringify({ keys: [first.jwk] }));
  clock.now_ms += 30 * SECOND; // a removed one within 30 s
  expect(await outcome(of_second)).toBe(NOT_VALID);
  await rm(path);
  clock.now_ms += 59 * MINUTE;
  expect(await outcome(of_first)).toBe('ok');
  clock.now_ms += MINUTE;
  expect(await outcome(of_first)).toBe(NOT_READY);
});

test('issuer and audience are never left out', () => {
  const config = { AUTH_JWKS: '/jwks', AUTH_ISSUER: ISSUER, AUTH_AUDIENCE: AUDIENCE };
  for (const name of Object.keys(config)) {
    const lacking = { ...config, [name]: '', AUTH_ALGORITHMS: ['ES256'] };
    expect(() => tokenReader(lacking, () => {})).toThrow('assertion failed');
  }
  expect(() => tokenReader({ ...config, AUTH_ALGORITHMS: [] }, () => {})).toThrow('assertion');
});

test('it runs on Deno with the network and the environment alone', async () => {
  const issuer = issue(first);
  const config = { AUTH_JWKS: issuer.url, AUTH_ISSUER: ISSUER, AUTH_AUDIENCE: AUDIENCE };
  const tokens = [await signed(first), await signed(second), `${await signed(first)}x`];
  const code = `
import { tokenReader } from '${TOP}/apps/auth/tokens.ts';
const config = ${JSON.stringify({ ...config, AUTH_ALGORITHMS: ['ES256'] })};
const read = tokenReader(config, () => {});
for (const token of ${JSON.stringify(tokens)}) {
  console.log(await read(token).then(({ name }) => name, ({ message }) => message));
}`;
  const args = ['run', '--no-prompt', '--quiet', '--allow-net', '--allow-env', '--ext=ts', '-'];
  const child = Bun.spawn([join(TOP, 'node_modules/deno/deno'), ...args], {
    cwd: TOP,
    env: {
      ...process.env,
      DENO_DIR: await stage.folder(),
      DENO_NO_UPDATE_CHECK: '1',
      NO_COLOR: '1',
    },
    stdin: new Blob([code]),
    stderr: 'pipe',
  });
  const [out, err] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  expect([err, out]).toEqual(['', `token:ada\n${NOT_VALID}\n${NOT_VALID}\n`]);
});

async function until(holds: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 2000 && !(await holds()); i++) await Bun.sleep(5);
  expect(await holds()).toBe(true);
}
