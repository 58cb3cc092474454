/** TLS and the password from an address and its files, and the messages about wrong ones. */
import { afterAll, expect, test } from 'bun:test';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type CredentialFiles, readCredentials } from '../../db/connection/credentials.ts';
import { Failure } from '../../db/failure.ts';
import { newAuthority } from '../support/certificates.ts';
import { freePort, openStage, sentenceOf } from '../support/process.ts';

const HOST = 'postgres://kassa:in-the-url@db:26257/kassa';
const stage = openStage();
afterAll(stage.clear);
const folder = await stage.folder();
const path = (name: string) => join(folder, name);
const authority = await newAuthority('authority');
const { cert, key } = await authority.issue({ name: 'kassa_order' });
for (const [name, content] of Object.entries({
  ...{ 'ca.crt': authority.cert, 'tls.crt': cert, 'tls.key': key, 'other.key': authority.key },
  ...{ empty: ' \n', text: 'hush-hush', password: 's3cret pass\n' },
})) {
  await writeFile(path(name), content);
}
const ca_file = path('ca.crt');
const whole = { ca_file, cert_file: path('tls.crt'), key_file: path('tls.key') };

const verified = (address: string, files?: CredentialFiles) => {
  const { tls } = readCredentials(address, files);
  return tls ? [tls.verify_issuer, tls.verify_host] : 'in the clear';
};

test('sslmode means what it means in libpq, and files for TLS without it mean verify-full', () => {
  expect(verified(HOST)).toBe('in the clear');
  expect(verified(`${HOST}?sslmode=disable`)).toBe('in the clear');
  expect(verified(`${HOST}?sslmode=require`)).toEqual([false, false]);
  expect(verified(`${HOST}?sslmode=require`, whole)).toEqual([true, false]);
  expect(verified(`${HOST}?sslmode=verify-ca`, whole)).toEqual([true, false]);
  expect(verified(`${HOST}?sslmode=verify-full`, whole)).toEqual([true, true]);
  expect(verified(`${HOST}?sslmode=verify-full`)).toEqual([true, true]);
  expect(verified(`${HOST}?sslmode=verify-full&sslrootcert=system`)).toEqual([true, true]);
  expect(verified(HOST, { ca_file })).toEqual([true, true]);
  expect(verified(HOST, whole)).toEqual([true, true]);
});

test('sslrootcert, sslcert and sslkey of the address replace missing files; the driver gets the rest', () => {
  const query = `sslrootcert=${ca_file}&sslcert=${path('tls.crt')}&sslkey=${path('tls.key')}`;
  const address = `${HOST}?${query}&sslmode=verify-ca&options=-c%20jit%3Doff`;
  expect(verified(address)).toEqual([true, false]);
  const { database_url } = readCredentials(address);
  expect([...new URL(database_url).searchParams]).toEqual([['options', '-c jit=off']]);
  for (const rest of [HOST, 'postgres://kassa@a:26257,b:26257/kassa']) {
    expect(readCredentials(`${rest}?sslmode=disable`).database_url).toBe(rest);
  }
  expect(readCredentials(`${HOST}?sslrootcert=/nowhere`, whole).tls?.verify_host).toBe(true);
});

test('the password is the content of the file without its trailing newline', async () => {
  const password_file = path('password');
  expect(readCredentials(HOST).password).toBeUndefined();
  expect(readCredentials(HOST, { password_file }).password).toBe('s3cret pass');
  await writeFile(password_file, 'second\r\n');
  expect(readCredentials(HOST, { password_file }).password).toBe('second');
});

const wrong: [what: string, query: string, files: Record<string, string>, said: string][] = [
  ['a missing file', '', { ca_file: 'gone' }, 'DATABASE_CA_FILE * cannot be read (ENOENT)'],
  ['an empty password', '', { password_file: 'empty' }, 'DATABASE_PASSWORD_FILE * is empty'],
  ['no PEM', '', { ca_file: 'text' }, 'DATABASE_CA_FILE * holds no certificate in PEM'],
  ['no key', '', { cert_file: 'tls.crt' }, 'CERT_FILE is set without DATABASE_KEY_FILE'],
  ['no certificate', '', { key_file: 'tls.key' }, 'KEY_FILE is set without DATABASE_CERT_FILE'],
  [
    'a false key',
    '',
    { cert_file: 'tls.crt', key_file: 'text' },
    'is not the key of DATABASE_CERT',
  ],
  ["another's key", '', { cert_file: 'tls.crt', key_file: 'other.key' }, 'is not the key of'],
  ['files in the clear', '?sslmode=disable', { ca_file: 'ca.crt' }, 'but sslmode is disable'],
  ['prefer', '?sslmode=prefer', {}, 'sslmode in DATABASE_URL must be one of disable, require, '],
  ['an unknown word', '?sslmode=yes', {}, 'sslmode in DATABASE_URL must be one of'],
  ["the driver's word", '?ssl=require', {}, 'DATABASE_URL has ssl, which is not supported'],
  [
    'sslrootcert',
    '?sslmode=require&sslrootcert=/gone',
    {},
    'sslrootcert in DATABASE_URL /gone can',
  ],
];
test.each(wrong)('%s is named in one sentence without secrets', async (_, query, names, said) => {
  const files = Object.fromEntries(Object.entries(names).map(([key, name]) => [key, path(name)]));
  const failure = await Promise.try(readCredentials, `${HOST}${query}`, files).catch((e) => e);
  expect(failure).toBeInstanceOf(Failure);
  expect(failure.code).toBe('store_unavailable');
  const [file = ''] = Object.values(files);
  expect(failure.detail).toContain(said.replace('*', file));
  expect(failure.detail).not.toMatch(/\n|hush|in-the-url|PRIVATE/);
  expect(failure.cause).toBeUndefined(); // it might quote the file
});

const entries = ['order/main', 'cli/audit', 'cli/migrate', 'cli/dev'];
test.each(entries)('apps/%s.ts exits and names the variable and the path', async (entry) => {
  const DATABASE_URL = `postgres://kassa:in-the-url@127.0.0.1:${await freePort()}/kassa`;
  const PORT = String(await freePort());
  const env = { DATABASE_URL, PORT, DATABASE_PASSWORD_FILE: path('no-such-file') };
  const child = await stage.run([`apps/${entry}.ts`], env);
  expect(child.code).toBe(2);
  expect(sentenceOf(child)).toContain(`DATABASE_PASSWORD_FILE ${path('no-such-file')} cannot be`);
  expect(child.out + child.err).not.toContain('in-the-url');
});

test('a certificate is read again each time', async () => {
  await rm(ca_file);
  expect(() => readCredentials(HOST, { ca_file })).toThrow('cannot be read');
});
