/** Only tokens that the issuer made for this service, and that still count, open it. */
import { afterAll, expect, setSystemTime, test } from 'bun:test';
import { createHmac } from 'node:crypto';
import { symlink } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { EncryptJWT, exportSPKI, SignJWT } from 'jose';
import { SCOPES } from '../../apps/contract/scopes.ts';
import {
  AUDIENCE,
  EXPIRED,
  encode,
  goodClaims,
  ISSUER,
  NOT_VALID,
  newKey,
  nowS,
  openIssuer,
  openReader,
  signed,
} from '../support/issuer.ts';
import { openUntil } from '../support/open.ts';
import { openStage, TOP } from '../support/process.ts';

const stage = openStage();
afterAll(() => stage.close());
const open = openUntil(afterAll);
const key = await newKey('ES256', 'one');
const rsa = await newKey('RS256', 'two');
const thief = await newKey('ES256', 'one'); // calls itself the same
const issuer = open.closing(openIssuer(key, rsa));
const attacker = open.closing(openIssuer(thief));
const { read, outcome, log } = openReader(issuer.url);
const good = await signed(key);

test('a token says who calls, with which scopes, and for which user', async () => {
  expect(await read(good)).toEqual({
    name: 'token:ada',
    scopes: new Set(['orders:read', 'orders:write']),
  });
  const own = { sub: 'Ada Lovelace <ada@example>', user_id: 'ada', scope: 'orders:write' };
  expect(await read(await signed(key, own))).toEqual({
    name: 'token:Ada Lovelace <ada@example>',
    scopes: new Set(['orders:write']),
    user_id: 'ada',
  });
  expect(await read(await signed(rsa))).toEqual(await read(good));
});

test.each<[claims: Record<string, unknown>, scopes: string[]]>([
  [{ scope: '' }, []],
  [{ scope: undefined }, []],
  [{ scope: 'openid  profile orders:read Admin ADMIN admin\tx orders:read ' }, ['orders:read']],
  [{ scope: 'constructor __proto__ toString' }, []],
  [{ scope: undefined, scopes: ['stock:write', 'email', 'admin'] }, ['stock:write', 'admin']],
  [{ scope: undefined, scopes: ['orders:read orders:write'] }, []],
  [{ scope: undefined, scopes: [] }, []],
  [{ scope: undefined, scp: ['admin'], roles: ['admin'], permissions: ['admin'] }, []],
])('the scopes of %j', async (claims, scopes) => {
  const principal = await read(await signed(key, claims));
  expect([...principal.scopes]).toEqual(scopes as never);
});

test('a token of a user carries no scope that reaches beyond one user', async () => {
  const all = await read(await signed(key, { scope: SCOPES.join(' ') }));
  expect(all.scopes).toEqual(new Set(SCOPES));
  const claims = { scope: undefined, scopes: SCOPES, user_id: 'ada' };
  const { scopes } = await read(await signed(key, claims));
  const left = ['orders:read', 'orders:write', 'wallets:read', 'stock:read', 'events:read'];
  expect([...scopes].sort()).toEqual(left.sort() as never);
});

const fine: [claims: Record<string, unknown>, header: Record<string, unknown>][] = [
  [{ exp: nowS() - 20 }, {}],
  [{ exp: nowS() + 600.5 }, {}],
  [{ exp: nowS() + 30 * 86_400 }, {}],
  [{ nbf: nowS() + 20, iat: nowS() + 20 }, {}],
  [{ nbf: nowS() - 1000, iat: nowS() - 1000 }, {}],
  [{ aud: ['another', AUDIENCE] }, {}],
  [{ sub: 'x'.repeat(128) }, {}],
  [{ user_id: 'A-z_0'.padEnd(64, 'x') }, {}],
  [{ other: [[[{ deep: 1e300 }]]], jku: 'https://attacker.example' }, {}],
  [{}, { typ: 'jwt' }],
  [{}, { typ: 'at+jwt' }],
  [{}, { typ: 'application/AT+JWT' }],
  [{}, { typ: undefined }],
  [{}, { x5t: 'abc', whatever: {} }],
];
test.each(fine)('%j with %j is good', async (claims, header) => {
  expect(await outcome(await signed(key, claims, header))).toBe('ok');
});

const withClaims = (...all: Record<string, unknown>[]): Evil[] =>
  all.map((claims) => [`claims ${JSON.stringify(claims)}`, () => signed(key, claims)]);
const withHeader = (...all: Record<string, unknown>[]): Evil[] =>
  all.map((header) => [`header ${JSON.stringify(header)}`, () => signed(key, {}, header)]);
/** Claims that only a text can express: `"exp":1e400`, say. They replace the same good ones. */
const withText = (...all: string[]): Evil[] =>
  all.map((text) => {
    const name = JSON.parse(`{${text}}`);
    const rest: Record<string, unknown> = goodClaims();
    for (const one of Object.keys(name)) delete rest[one];
    const claims = JSON.stringify(rest).replace(/\}$/, `,${text}}`);
    return [`text ${text.slice(0, 60)}`, () => signed(key, claims)];
  });
const withPayload = (...all: (string | Uint8Array)[]): Evil[] =>
  all.map((payload) => [`payload ${String(payload).slice(0, 40)}`, () => signed(key, payload)]);
const withForm = (...all: [string, (good: string) => string][]): Evil[] =>
  all.map(([name, change]) => [name, async () => change(good)]);
type Evil = [name: string, make: () => Promise<string>];

const MONTHS = 32 * 86_400;
const times: Evil[] = [
  ...withClaims({ nbf: nowS() + 100 }, { iat: nowS() + 100 }, { exp: nowS() + MONTHS }),
  ...withClaims({ exp: undefined }, { exp: null }, { exp: `${nowS() + 600}` }, { exp: [1] }),
  ...withClaims({ exp: {} }, { exp: true }, { nbf: '0' }, { nbf: null }, { nbf: [] }),
  ...withClaims({ iat: '0' }, { iat: null }, { iat: {} }, { exp: Number.MAX_SAFE_INTEGER }),
  ...withText('"exp":1e400', '"exp":1e308', '"exp":99999999999999999999', '"nbf":1e400'),
  ...withText('"iat":1e400', '"exp":NaN'.replace('NaN', '"NaN"')),
];
const names: Evil[] = [
  ...withClaims({ iss: undefined }, { iss: 'https://evil.example' }, { iss: `${ISSUER}/` }),
  ...withClaims({ iss: [ISSUER] }, { iss: null }, { iss: '' }, { iss: ISSUER.toUpperCase() }),
  ...withClaims({ aud: undefined }, { aud: 'another' }, { aud: [] }, { aud: [[AUDIENCE]] }),
  ...withClaims({ aud: null }, { aud: 1 }, { aud: { 0: AUDIENCE } }, { aud: `${AUDIENCE} ` }),
  ...withClaims({ sub: undefined }, { sub: '' }, { sub: 7 }, { sub: null }, { sub: ['ada'] }),
  ...withClaims({ sub: 'x'.repeat(129) }, { sub: 'ada\n' }, { sub: 'adä' }, { sub: 'a\0' }),
  ...withClaims({ sub: { toString: 'ada' } }, { sub: true }),
];
const rights: Evil[] = [
  ...withClaims(
    { scope: 7 },
    { scope: ['admin'] },
    { scope: null },
    { scope: {} },
    { scope: true },
  ),
  ...withClaims({ scopes: [] }, { scopes: ['admin'] }), // beside scope
  ...[[['admin']], 'admin', [7], { 0: 'admin' }, null, 7, ['orders:read', null]].flatMap((scopes) =>
    withClaims({ scope: undefined, scopes }),
  ),
  ...[null, 7, '', 'a b', '../ada', 'x'.repeat(65), ['ada'], {}, 'adä', 'ada\n', false].flatMap(
    (user_id) => withClaims({ user_id }),
  ),
];
const headers: Evil[] = [
  ...withHeader({ alg: undefined }, { alg: 7 }, { alg: ['ES256'] }, { alg: '' }, { alg: 'es256' }),
  ...withHeader({ alg: 'ES384' }, { alg: 'RS256' }, { alg: 'EdDSA' }, { alg: 'HS256' }),
  ...withHeader({ kid: 'three' }, { kid: 7 }, { kid: null }, { kid: ['one'] }, { kid: '' }),
  ...withHeader({ kid: '../../etc/passwd' }, { kid: "' or 1=1 --" }, { kid: 'two' }),
  ...withHeader({ crit: ['exp'] }, { crit: [] }, { crit: 'exp' }, { crit: ['b64'], b64: false }),
  ...withHeader({ b64: false }, { b64: true }, { typ: 'JWE' }, { typ: 'secevent+jwt' }),
  ...withHeader({ typ: 7 }, { typ: null }, { typ: ['JWT'] }, { typ: '' }, { typ: 'jwt+x' }),
  ...withHeader({ jwk: key.jwk }, { x5c: ['MIIB'] }, { x5u: attacker.url }, { jku: issuer.url }),
  ...['[]', 'null', '7', '"ES256"', '', '{', '{"alg":"ES256"', '\u{feff}{"alg":"ES256"}'].map(
    (header): Evil => [`header ${header}`, () => signed(key, {}, header || ' ')],
  ),
  ...[
    '{"alg":"none","alg":"ES256","kid":"one"}',
    '{"alg":"ES256","kid":"x","k\\u0069d":"one"}',
  ].map((header): Evil => [`header ${header}`, () => signed(key, {}, header)]),
];
const payloads: Evil[] = [
  ...withPayload('[]', 'null', '7', '"text"', '{', 'x', `${JSON.stringify(goodClaims())}x`),
  ...withPayload(`\u{feff}${JSON.stringify(goodClaims())}`, `[${JSON.stringify(goodClaims())}]`),
  ...withPayload('['.repeat(2500), `${'['.repeat(1200)}${']'.repeat(1200)}`),
  ...withPayload(new Uint8Array([0xff, 0xfe]), Buffer.from('{"sub":"\xff"}', 'latin1')),
  ...withText('"sub":"bob","sub":"ada"', '"sub":"bob","s\\u0075b":"ada"'),
  ...withText('"user_id":"ada","user_id":"bob"', '"other":{"a":1,"a":2}'),
];
/** Of the last character of a signature only two bits count. */
const sameBits = (last: string): string => {
  const [same] =
    Object.entries({ B: 'A', R: 'Q', h: 'g', x: 'w' }).find(([, one]) => one === last) ?? [];
  return same ?? '';
};
const forms: Evil[] = withForm(
  ['empty', () => ''],
  ['dots', () => '..'],
  ['more dots', () => '....'],
  ['a word', () => 'token'],
  ['two parts', (token) => token.slice(0, token.lastIndexOf('.'))],
  ['no signature', (token) => token.slice(0, token.lastIndexOf('.') + 1)],
  ['a dot behind it', (token) => `${token}.`],
  ['a dot before it', (token) => `.${token}`],
  ['two dots within', (token) => token.replace('.', '..')],
  ['five parts', (token) => `${token}.a.b`],
  ['one character less', (token) => token.slice(0, -1)],
  ['half of it', (token) => token.slice(0, token.length / 2)],
  ['twice', (token) => token + token],
  ['padding', (token) => `${token}==`],
  ['padding of the header', (token) => token.replace('.', '=.')],
  ['a blank', (token) => `${token} `],
  ['a line', (token) => `\n${token}`],
  ['a blank within', (token) => token.replace('.', ' .')],
  ['a NUL', (token) => `${token}\0`],
  ['not ASCII', (token) => `${token.slice(0, -1)}é`],
  ['other base64', (token) => `${token.slice(0, -2)}+/`],
  ['the same bytes, written otherwise', (token) => token.replace(/.$/, sameBits)],
  ['a prefix', (token) => `Bearer ${token}`],
  ['JSON', (token) => JSON.stringify(token.split('.'))],
  ['zeros for a signature', (token) => `${token.replace(/[^.]*$/, '')}${'A'.repeat(86)}`],
  ['a short signature', (token) => `${token.replace(/[^.]*$/, '')}AA`],
);
const signatures: Evil[] = [
  ['another key of the same name', () => signed(thief)],
  ['the signature of another token', () => swapped(signed(key, { sub: 'eve' }), good)],
  ['claims of another token', () => swapped(good, signed(key, { sub: 'eve' }))],
  ['4097 characters', () => signed(key, { other: 'x'.repeat(4096) })],
  ['a megabyte', async () => `${good}${'A'.repeat(1_000_000)}`],
  ['a million dots', async () => '.'.repeat(1_000_000)],
  ['a token that is encrypted', () => encrypted()],
  ['a key of its own', () => signed(thief, {}, { jwk: thief.jwk })],
  ['a key of its own without kid', () => signed(thief, {}, { jwk: thief.jwk, kid: undefined })],
  ['an address of its own', () => signed(thief, {}, { jku: attacker.url })],
  ['an address and a name of its own', () => signed(thief, {}, { jku: attacker.url, kid: 'x' })],
  ['a certificate of its own', () => signed(thief, {}, { x5u: attacker.url })],
  ...['none', 'None', 'NONE', 'nOnE', 'none ', '', 'null'].flatMap((alg): Evil[] => [
    [`alg "${alg}" without a signature`, async () => unsigned(alg, '')],
    [`alg "${alg}" with one`, async () => unsigned(alg, encode('x'.repeat(64)))],
  ]),
];

async function swapped(
  of_claims: string | Promise<string>,
  of_signature: string | Promise<string>,
) {
  const [claims, signature] = await Promise.all([of_claims, of_signature]);
  return claims.replace(/[^.]*$/, signature.split('.')[2] ?? '');
}

const unsigned = (alg: string, signature: string): string => {
  const header = encode(JSON.stringify({ alg, kid: 'one' }));
  return `${header}.${encode(JSON.stringify(goodClaims()))}.${signature}`;
};

const encrypted = (): Promise<string> =>
  new EncryptJWT(goodClaims())
    .setProtectedHeader({ alg: 'RSA-OAEP-256', enc: 'A256GCM', kid: 'two' })
    .encrypt({ ...rsa.jwk, alg: 'RSA-OAEP-256', use: 'enc' });

const evil = [times, names, rights, headers, payloads, forms, signatures].flat();
test.each(evil)('%s is refused', async (_, make) => {
  const token = await make();
  log.length = 0;
  expect(await outcome(token)).toBe(NOT_VALID);
  expect(attacker.requests).toBe(0);
  // The reason is in the log, at debug, and nothing of the token is.
  expect(log.map(({ level, event }) => [level, event])).toEqual([['debug', 'token_refused']]);
  const parts = token.split('.').filter((part) => part.length > 8);
  const lines = JSON.stringify(log);
  expect(parts.filter((part) => lines.includes(part))).toEqual([]);
});

test.each([nowS() - 100, 0, -1, -1e308])('a token until %d has expired', async (exp) => {
  expect(await outcome(await signed(key, { exp }))).toBe(EXPIRED);
});

test('the issuer of the page makes a token that counts', async () => {
  const page = await Bun.file(join(TOP, 'docs/authentication.md')).text();
  const [, code = ''] = page.match(/^### An issuer.+?```ts\n(.+?)```/ms) ?? [];
  const cwd = await stage.folder();
  await symlink(join(TOP, 'node_modules'), join(cwd, 'node_modules'));
  await Bun.write(join(cwd, 'issuer.ts'), code);
  const printed = await Bun.$`${process.execPath} issuer.ts`.cwd(cwd).text();
  const { user_id, name } = await openReader(join(cwd, 'jwks.json')).read(printed.trim());
  expect([user_id, name]).toEqual(['ada', 'token:ada']);
});

test('whether it has expired is told of genuine tokens only', async () => {
  expect(await outcome(await signed(thief, { exp: 0 }))).toBe(NOT_VALID);
  expect(await outcome(await signed(key, { exp: 0, aud: 'another' }))).toBe(NOT_VALID);
});

test('the public key is no secret to sign with', async () => {
  for (const alg of ['HS256', 'HS384', 'HS512'] as const) {
    for (const { public_key, jwk, kid } of [key, rsa]) {
      const pem = await exportSPKI(public_key);
      const spki = new Uint8Array(await crypto.subtle.exportKey('spki', public_key));
      const secrets = [pem, pem.trim(), spki, JSON.stringify(jwk), jwk.n ?? jwk.x ?? '', ''];
      for (const secret of secrets) {
        const header = encode(JSON.stringify({ alg, kid, typ: 'JWT' }));
        const input = `${header}.${encode(JSON.stringify(goodClaims()))}`;
        const hmac = createHmac(alg.replace('HS', 'sha'), secret).update(input);
        expect(await outcome(`${input}.${hmac.digest('base64url')}`)).toBe(NOT_VALID);
      }
    }
  }
});

test('only algorithms of the configuration count, even with a key that is there', async () => {
  const only_rsa = openReader(issuer.url, ['RS256']);
  expect(await only_rsa.outcome(good)).toBe(NOT_VALID);
  expect(await only_rsa.outcome(await signed(rsa))).toBe('ok');
  const unnamed = open.closing(openIssuer());
  const { alg: _, ...jwk } = rsa.jwk; // a key for any algorithm of RSA
  unnamed.keys = [jwk];
  const strict = openReader(unnamed.url, ['RS256']);
  expect(await strict.outcome(await signed(rsa))).toBe('ok');
  const pss = await crypto.subtle.importKey(
    'jwk',
    { ...(await crypto.subtle.exportKey('jwk', rsa.private_key)), alg: 'PS256' },
    { name: 'RSA-PSS', hash: 'SHA-256' },
    true,
    ['sign'],
  );
  const other = await signed({ ...rsa, alg: 'PS256', private_key: pss });
  expect(await strict.outcome(other)).toBe(NOT_VALID);
  expect(await openReader(unnamed.url, ['RS256', 'PS256']).outcome(other)).toBe('ok');
});

test("each algorithm works, with the tokens of jose's own signer", async () => {
  for (const alg of ['ES256', 'RS256', 'PS256', 'EdDSA'] as const) {
    const one = await newKey(alg, alg);
    const own = open.closing(openIssuer(one));
    const token = await new SignJWT({ scope: 'admin' })
      .setProtectedHeader({ alg, kid: alg })
      .setIssuer(ISSUER)
      .setAudience(AUDIENCE)
      .setSubject('shop')
      .setExpirationTime('5 minutes')
      .sign(one.private_key);
    expect(await openReader(own.url, [alg]).outcome(token)).toBe('ok');
  }
});

/** Ways to damage a token. */
const mutation = fc.oneof(
  fc
    .record({ at: fc.nat(), byte: fc.integer({ min: 1, max: 255 }) })
    .map(({ at, byte }) => (token: string) => {
      const bytes = Buffer.from(token, 'latin1');
      bytes[at % bytes.length] = (bytes[at % bytes.length] ?? 0) ^ byte;
      return bytes.toString('latin1');
    }),
  // Within a part, so that the result is base64url.
  fc
    .record({ part: fc.nat(2), at: fc.nat(), bit: fc.nat(7) })
    .map(({ part, at, bit }) => (token: string) => {
      const parts = token.split('.').map((text) => Buffer.from(text, 'base64url'));
      const bytes = parts[part] ?? Buffer.alloc(0);
      if (bytes.length === 0) return token;
      bytes[at % bytes.length] = (bytes[at % bytes.length] ?? 0) ^ (1 << bit);
      return parts.map((one) => one.toString('base64url')).join('.');
    }),
  fc.record({ at: fc.nat(), character: fc.constantFrom(...'AQgwZz09-_.=+/ \n\0') }).map(
    ({ at, character }) =>
      (token: string) =>
        token.slice(0, at % token.length) + character + token.slice((at % token.length) + 1),
  ),
  fc.record({ at: fc.nat(), length: fc.integer({ min: 1, max: 40 }) }).map(
    ({ at, length }) =>
      (token: string) =>
        token.slice(0, at % token.length) + token.slice((at % token.length) + length),
  ),
  fc.record({ at: fc.nat(), text: fc.string({ minLength: 1, maxLength: 8 }) }).map(
    ({ at, text }) =>
      (token: string) =>
        token.slice(0, at % token.length) + text + token.slice(at % token.length),
  ),
  fc.array(fc.nat(2), { maxLength: 6 }).map((order) => (token: string) => {
    const parts = token.split('.');
    return order.map((i) => parts[i]).join('.');
  }),
);

test('no token that was changed anywhere is good, even if the good one is remembered', async () => {
  const property = fc.asyncProperty(
    fc.array(mutation, { minLength: 1, maxLength: 3 }),
    fc.boolean(),
    async (mutations, of_rsa) => {
      const token = of_rsa ? good_rsa : good;
      const changed = mutations.reduce((text, change) => change(text), token);
      fc.pre(changed !== token);
      expect(await outcome(changed)).toBe(NOT_VALID);
    },
  );
  const good_rsa = await signed(rsa);
  expect([await outcome(good), await outcome(good_rsa)]).toEqual(['ok', 'ok']);
  await fc.assert(property, { numRuns: 2000 });
  expect([await outcome(good), await outcome(good_rsa)]).toEqual(['ok', 'ok']);
});

test('a remembered token ends with its time', async () => {
  const own = openReader(issuer.url);
  const token = await signed(key, { exp: nowS() + 10 });
  for (let i = 0; i < 3; i++) expect(await own.outcome(token)).toBe('ok');
  setSystemTime(Date.now() + 42_000); // 10 s, and what the clocks may differ by
  const late = await own.outcome(token);
  setSystemTime();
  expect(late).toBe(EXPIRED);
});
