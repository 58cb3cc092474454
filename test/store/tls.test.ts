/** TLS to a real server: trust, client certificates, and renewed certificates. */
import { afterAll, expect, test } from 'bun:test';
import { rm } from 'node:fs/promises';
import { connectOrSay } from '../../apps/cli/connect.ts';
import { readConfig, storeOptions } from '../../apps/runtime/config.ts';
import { logTo } from '../../apps/runtime/log.ts';
import { openConnection } from '../../db/connection/connect.ts';
import type { CredentialFiles } from '../../db/connection/credentials.ts';
import { codeOf, Failure } from '../../db/failure.ts';
import { openStore } from '../../db/store.ts';
import { newAuthority } from '../support/certificates.ts';
import { fittingEnvironment } from '../support/fitting.ts';
import { expectCleanAudit, storeUrl, tally, terminateSessions, times } from '../support/kassa.ts';
import { openUntil } from '../support/open.ts';
import { openStage, until } from '../support/process.ts';
import { startTlsServer } from '../support/tls-server.ts';

const open = openUntil(afterAll);
const stage = open.closing(openStage());
const server = open.closing(await startTlsServer(await stage.folder()));
const ca_file = await server.put('trusted.crt', server.authority.cert);
/** The files of the role cert_shop, which has no password. */
const mine = await certified('cert_shop');
const { sql } = await open.connection(urlOf({ mode: 'require' }));
await sql`create role cert_shop login superuser`;
await sql.unsafe(`create role both_shop login superuser password '${server.password}'`);

async function certified(name: string, days = 30, authority = server.authority) {
  const { cert, key } = await authority.issue({ name, days });
  const id = crypto.randomUUID();
  return {
    ca_file,
    cert_file: await server.put(`${id}.crt`, cert),
    key_file: await server.put(`${id}.key`, key),
  };
}

function urlOf(change: { host?: string; user?: string; mode?: string }): string {
  const url = new URL(server.database_url);
  if (change.host) url.hostname = change.host;
  if (change.user) [url.username, url.password] = [change.user, ''];
  if (change.mode) url.searchParams.set('sslmode', change.mode);
  return url.href;
}

/** How the server describes the connection, or the reasons why it failed. */
async function attempt(url: string, files: CredentialFiles): Promise<string> {
  const address = { ...storeOptions(readConfig({}), url, 'test'), files };
  try {
    const { sql, close } = await openConnection(address, 'tools');
    const [row] = await sql`select concat(version, ' ', client_dn) as seen
                            from pg_stat_ssl where pid = pg_backend_pid()`;
    await close();
    return row?.seen;
  } catch (error) {
    expect(codeOf(error)).toBe('store_unavailable');
    const said: string[] = [];
    for (let e = error; e instanceof Error; e = e.cause) {
      said.push(e instanceof Failure ? e.detail : `${codeOf(e)} ${e.message}`);
    }
    expect(said.join()).not.toContain(server.password);
    return said.join('; ');
  }
}

const full = urlOf({ mode: 'verify-full' });
const shop = urlOf({ user: 'cert_shop', mode: 'verify-full' });
const elsewhere = (mode: string) => urlOf({ host: '127.0.0.1', mode });
const libpq = `&sslrootcert=${ca_file}&sslcert=${mine.cert_file}&sslkey=${mine.key_file}`;
const same_name = await newAuthority('authority of the test');
const foreign = { ca_file: await server.put('foreign.crt', same_name.cert) };
const expired = await certified('cert_shop', -1);
const others = await certified('cert_shop', 30, await newAuthority('another'));
const plain = new URL(storeUrl());
plain.searchParams.set('sslmode', 'require');
const OPEN = /^TLSv1\.3 $/;
const UNTRUSTED = /SELF_SIGNED|UNABLE_TO|SIGNATURE/;

test.each<[what: string, url: string, files: CredentialFiles, seen: RegExp]>([
  ['a password logs in, verified in full', full, { ca_file }, OPEN],
  ['an authority without sslmode means verify-full', urlOf({}), { ca_file }, OPEN],
  ['a certificate logs in, verified in full', shop, mine, /^TLSv1\.3 \/CN=cert_shop$/],
  ['files are named as in libpq', shop + libpq, {}, /^TLSv1\.3 \/CN=cert_shop$/],
  ['verify-full refuses another host', elsewhere('verify-full'), { ca_file }, /ALTNAME_INVALID/],
  ['verify-ca accepts another host', elsewhere('verify-ca'), { ca_file }, OPEN],
  ['require accepts another host', elsewhere('require'), { ca_file }, OPEN],
  ['verify-full refuses an untrusted authority', full, foreign, UNTRUSTED],
  ['verify-ca refuses an untrusted authority', urlOf({ mode: 'verify-ca' }), foreign, UNTRUSTED],
  ['require refuses it too if one is trusted', urlOf({ mode: 'require' }), foreign, UNTRUSTED],
  ['verify-full trusts no authority by itself', full, {}, UNTRUSTED],
  ['require without an authority trusts any', urlOf({ mode: 'require' }), {}, OPEN],
  ['a client needs its certificate', shop, { ca_file }, /28000/],
  ["another role's certificate is refused", shop, await certified('cert_other'), /28000/],
  ['an expired certificate is refused', shop, expired, /^(?!TLSv1\.3)/],
  ["a foreign authority's certificate is refused", shop, others, /^(?!TLSv1\.3)/],
  ['plain text is refused', urlOf({}), {}, /28000/],
  ['a server without TLS is refused', plain.href, {}, /does not offer TLS/],
])('%s', async (_, url, files, seen) => {
  expect(await attempt(url, files)).toMatch(seen);
});

test('the password comes from the file, and the next connection uses a changed one', async () => {
  const url = new URL(full);
  url.password = 'of-yesterday';
  const password_file = await server.put('password', `${server.password}\n`);
  expect(await attempt(url.href, { ca_file, password_file })).toBe('TLSv1.3 ');
  await server.put('password', 'of-tomorrow');
  expect(await attempt(url.href, { ca_file, password_file })).toContain('28P01');
  await server.put('password', server.password);
  expect(await attempt(url.href, { ca_file, password_file })).toBe('TLSv1.3 ');
  await rm(password_file);
  expect(await attempt(url.href, { ca_file, password_file })).toContain('cannot be read (ENOENT)');
});

test('the tools report a failure of TLS in one sentence', async () => {
  const say = (url: string, files: CredentialFiles) =>
    connectOrSay({ ...storeOptions(readConfig({}), url, 'test'), files }).then(
      ({ close }) => close(),
      (failure) => failure.detail,
    );
  const wrong_host = elsewhere('verify-full');
  const store = `the store at ${new URL(wrong_host).host}/postgres`;
  expect(await say(wrong_host, { ca_file })).toBe(`${store} has a certificate for another host`);
  expect(await say(full, {})).toContain('is not trusted (');
  expect(await say(shop, { ca_file })).toContain('refuses this user');
  expect(await say(urlOf({ mode: 'require' }), {})).toBeUndefined();
});

test('the services work over TLS, survive the end of their sessions, and follow a renewed certificate', async () => {
  const database_url = await open.database(urlOf({ mode: 'require' }));
  const url = new URL(database_url);
  [url.username, url.password] = ['cert_shop', ''];
  url.searchParams.set('sslmode', 'verify-full');
  const changing = await server.put('changing.crt', server.authority.cert);
  const kassa = open.kassa({
    DATABASE_URL: url.href,
    ...variablesOf({ ...mine, ca_file: changing }),
  });
  expect((await kassa.get('/health/ready')).status).toBe(200);
  const user_id = await kassa.newUser(1000);
  const item_id = await kassa.newItem(2, 100);
  const buy = async () => {
    const order_id = await kassa.newOrder(user_id, [[item_id, 1]]);
    return kassa.post(`/orders/checkout/${order_id}`);
  };
  expect(tally(await times(40, buy))).toEqual({ 200: 40 });

  // A new authority has issued the store's certificate: only a fresh read of the file trusts it.
  const renewed = await newAuthority('renewed');
  await server.put('changing.crt', renewed.cert);
  await server.renew(30, renewed);
  const seen = () => attempt(shop, { ...mine, ca_file: changing });
  await until(async () => (await seen()).includes('cert_shop'), 'the renewed certificate');
  expect(await terminateSessions(database_url)).toBeGreaterThan(1);
  expect(tally(await times(40, buy))).toEqual({ 200: 40 });
  expect([await kassa.creditOf(user_id), await kassa.stockOf(item_id)]).toEqual([840, 20]);

  await server.renew();
  await until(async () => !(await seen()).includes('cert_shop'), 'the old certificate');
  await terminateSessions(database_url);
  expect((await kassa.get('/health/ready')).body.code).toBe('store_unavailable');
  await server.put('changing.crt', server.authority.cert);
  await until(async () => (await kassa.get('/health/ready')).status === 200, 'readiness');
  await kassa.close();
  await expectCleanAudit(database_url);
});

test('the proofs use the certificates and the password of the environment', async () => {
  const url = urlOf({ user: 'both_shop', mode: 'verify-full' });
  const both = await certified('both_shop');
  const password_file = await server.put('password', `${server.password}\n`);
  expect(await attempt(url, { ca_file, password_file })).toContain('28000');
  expect(await attempt(url, both)).not.toContain('TLSv1.3');
  const env = { DATABASE_URL: url, ...variablesOf({ ...both, password_file }) };
  const few = ['--items', '5', '--users', '10', '--checkouts', '10', '--history', 'off'];
  const consistency = await stage.run(['test/proofs/consistency/main.ts', ...few], env);
  expect([consistency.code, consistency.err]).toEqual([0, expect.not.stringContaining('ERR')]);
  const chaos = await stage.run(['-e', deployment(url)], env);
  expect([chaos.err, chaos.out]).toEqual(['', 'ready\n'.repeat(5)]);
});

/** Starts what `bun run chaos` works on, and waits until each of its services is ready. */
const deployment = (server_url: string) => `
  import { deploy } from './test/proofs/chaos/deployment.ts';
  import { openTeardown } from './test/support/teardown.ts';
  const teardown = openTeardown();
  const { services } = await deploy('${server_url}', teardown, () => {});
  for (const { origin } of services) {
    while ((await fetch(origin + '/health/ready')).status !== 200) await Bun.sleep(50);
    console.log('ready');
  }
  await teardown.run();
  process.exit();`;

/** As the environment names the files. */
const variablesOf = (files: CredentialFiles): Record<string, string> =>
  Object.fromEntries(
    Object.entries(files).map(([name, path]) => [`DATABASE_${name.toUpperCase()}`, path]),
  );

test('an expired certificate of the store is refused', async () => {
  await server.renew(-1);
  const seen = () => attempt(full, { ca_file });
  await until(async () => (await seen()).includes('CERT_HAS_EXPIRED'), 'the expired certificate');
  expect(await attempt(urlOf({ mode: 'require' }), {})).toBe('TLSv1.3 ');
});

test('the log of a refused password does not contain it', async () => {
  const lines: string[] = [];
  const DATABASE_PASSWORD_FILE = await server.put('wrong', 'hush-hush\n');
  const config = readConfig(fittingEnvironment({ AWAY_MS: 0, DATABASE_PASSWORD_FILE }));
  const url = urlOf({ mode: 'require' }).replace(server.password, 'hush-too');
  const log = logTo((line) => lines.push(line), 'debug', 'test');
  const store = openStore({ ...storeOptions(config, url, 'test'), services: ['order'], log });
  const refused = await store.read.findUser('ann').catch((error) => error);
  log('error', 'request_failed', { error: refused });
  await store.close();
  expect(lines.join('')).toContain('28P01');
  expect(lines.join('')).not.toContain('hush');
});
