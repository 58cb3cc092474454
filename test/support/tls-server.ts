/** A PostgreSQL for one test that accepts only TLS, and the authority of its certificates. */
import { chmod, chown, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startEmbedded } from '../../db/local/embedded.ts';
import { prepare } from '../../db/local/embedded-home.ts';
import { newAuthority, type Subject } from './certificates.ts';
import { plant } from './stores.ts';

export type TlsServer = Awaited<ReturnType<typeof startTlsServer>>;

/** Roles with the prefix cert_ need a certificate of their name, with both_ a password too. */
const HBA = `
hostssl all /^cert_ all cert
hostssl all /^both_ all scram-sha-256 clientcert=verify-full
hostssl all all all scram-sha-256
hostnossl all all all reject
`;

export async function startTlsServer() {
  const directory = await mkdtemp(join(tmpdir(), 'kassa-test-'));
  await chmod(directory, 0o755); // started by root, the server runs as another user
  await plant(directory);
  const { user } = await prepare(directory, () => {});
  const authority = await newAuthority('authority of the test');
  /** Replaces a file atomically, as a secret is replaced. @returns its path */
  const put = async (name: string, content: string) => {
    const path = join(directory, name);
    await writeFile(`${path}.new`, content, { mode: 0o600 });
    if (user.uid !== undefined) await chown(`${path}.new`, user.uid, user.gid ?? 0);
    await rename(`${path}.new`, path);
    return path;
  };
  /** Installs a server certificate, in effect after the next reload. */
  const wear = async (subject: Subject) => {
    const { cert, key } = await authority.issue(subject);
    await put('server.crt', cert);
    await put('server.key', key);
  };
  await wear({ name: 'store', hosts: ['localhost'] });
  const settings = {
    ssl: 'on',
    ssl_cert_file: join(directory, 'server.crt'),
    ssl_key_file: join(directory, 'server.key'),
    ssl_ca_file: await put('ca.crt', authority.cert),
    hba_file: await put('hba.conf', HBA),
    shared_buffers: '32MB',
  };
  const quiet = { report: () => {}, failed: console.error };
  const server = await startEmbedded({ directory, settings, ...quiet });
  const url = new URL(server.database_url);
  url.hostname = 'localhost';
  return {
    /** With a password and the host of the certificate, without parameters for TLS. */
    database_url: url.href,
    password: url.password,
    authority,
    put,
    wear,
    async stop() {
      await server.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}
