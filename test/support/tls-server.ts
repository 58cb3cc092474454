/** A PostgreSQL that accepts only TLS, and the authority of its certificates. */
import { chown, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { prepare } from '../../db/local/embedded-home.ts';
import { newAuthority } from './certificates.ts';
import { connect } from './kassa.ts';
import { serveFrom } from './stores.ts';

/** Roles with the prefix cert_ need a certificate of their name, with both_ a password too. */
const HBA = `
hostssl all /^cert_ all cert
hostssl all /^both_ all scram-sha-256 clientcert=verify-full
hostssl all all all scram-sha-256
hostnossl all all all reject
`;

/** @param directory an empty folder, which other users can enter */
export async function startTlsServer(directory: string) {
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
  const certify = async (days: number, by = authority) => {
    const { cert, key } = await by.issue({ name: 'store', hosts: ['localhost'], days });
    return {
      ssl_cert_file: await put('server.crt', cert),
      ssl_key_file: await put('server.key', key),
    };
  };
  const server = await serveFrom(directory, {
    ...{ ssl: 'on', shared_buffers: '32MB', ...(await certify(30)) },
    ssl_ca_file: await put('ca.crt', authority.cert),
    hba_file: await put('hba.conf', HBA),
  });
  const url = new URL(server.database_url);
  url.hostname = 'localhost';
  return {
    /** With a password and the host of the certificate, without parameters for TLS. */
    database_url: url.href,
    password: url.password,
    authority,
    put,
    /** Renews the certificate: of this many days, negative for an expired one, by an authority. */
    async renew(days = 30, by = authority) {
      await certify(days, by);
      const { sql, close } = await connect(`${url.href}?sslmode=require`);
      await sql`select pg_reload_conf()`;
      await close();
    },
    close: server.stop,
  };
}
