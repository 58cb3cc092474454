/** TLS trust and client credentials, re-read for each connection. */
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureContext, type SecureContext } from 'node:tls';
import { codeOf, Failure } from '../failure.ts';

/** Paths of files, such as a mounted secret; each may change while the service runs. */
export interface CredentialFiles {
  /** The password; it overrides one in the address. A trailing newline is ignored. */
  password_file?: string | undefined;
  /** PEM: the trusted authorities for the store's certificate. */
  ca_file?: string | undefined;
  /** PEM: the client certificate and its key; both or neither. */
  cert_file?: string | undefined;
  key_file?: string | undefined;
}

export interface Credentials {
  /** The address without TLS parameters: the driver would send them to the store as settings. */
  database_url: string;
  password?: string;
  /** Undefined: the connection is not encrypted. */
  tls?: Tls;
  /** Whether a tool may read from a standby, which may lag behind. */
  standby_allowed: boolean;
}

export interface Tls {
  context: SecureContext;
  /** Whether a trusted authority must have issued the store's certificate. */
  verify_issuer: boolean;
  /** Whether the certificate must name the host that was dialled. */
  verify_host: boolean;
}

const MODES = ['disable', 'require', 'verify-ca', 'verify-full'] as const;
type Mode = (typeof MODES)[number];
/** The values of libpq that are supported; the services need a primary in any case. */
const TARGETS = ['read-write', 'primary', 'any'];

/**
 * Reads the address and the files as they are now: the next connection uses a renewed certificate
 * or password. `sslmode` means what it means in libpq: `require` encrypts, and verifies the issuer
 * too if there is a file of authorities. Without `sslmode`, files for TLS mean `verify-full`, and
 * no files mean no TLS. `sslrootcert`, `sslcert` and `sslkey` in the address replace missing files.
 * `allow` and `prefer` are refused: a man in the middle could remove the encryption.
 * `target_session_attrs=any` lets a tool read from a standby.
 * https://www.postgresql.org/docs/18/libpq-ssl.html
 * @throws Failure store_unavailable with one sentence that names the variable and the path
 */
export function readCredentials(address: string, files: CredentialFiles = {}): Credentials {
  const [base = '', query = ''] = address.split(/\?(.*)/s);
  const parameters = new URLSearchParams(query);
  const take = (name: string) => {
    const value = parameters.get(name) || undefined;
    parameters.delete(name);
    return value;
  };
  const fallback = (path: string | undefined, variable: string, name: string): Source => {
    const other = take(name);
    if (path || !other) return { path, name: variable };
    return { path: other, name: `${name} in DATABASE_URL` };
  };
  const ca = fallback(files.ca_file, 'DATABASE_CA_FILE', 'sslrootcert');
  const cert = fallback(files.cert_file, 'DATABASE_CERT_FILE', 'sslcert');
  const key = fallback(files.key_file, 'DATABASE_KEY_FILE', 'sslkey');
  const mode = modeOf(take('sslmode'), ca, cert, key);
  const attributes = take('target_session_attrs');
  if (attributes && !TARGETS.includes(attributes)) {
    throw wrong(`target_session_attrs in DATABASE_URL must be one of ${TARGETS.join(', ')}`);
  }
  const unknown = [...parameters.keys()].find((name) => name.startsWith('ssl'));
  if (unknown) throw wrong(`DATABASE_URL has ${unknown}, which is not supported`);

  const rest = parameters.toString();
  const password = contentOf({ path: files.password_file, name: 'DATABASE_PASSWORD_FILE' });
  const tls = mode === 'disable' ? undefined : readTls(mode, ca, cert, key);
  return {
    database_url: rest === '' ? base : `${base}?${rest}`,
    ...(password !== undefined && { password: password.replace(/\r?\n$/, '') }),
    ...(tls && { tls }),
    standby_allowed: attributes === 'any',
  };
}

/** A file, and the name of the setting that names it. */
interface Source {
  path: string | undefined;
  name: string;
}

function modeOf(asked: string | undefined, ca: Source, cert: Source, key: Source): Mode {
  const mode = MODES.find((one) => one === asked);
  if (asked !== undefined && !mode) {
    throw wrong(`sslmode in DATABASE_URL must be one of ${MODES.join(', ')}`);
  }
  const [one, other] = cert.path ? [cert, key] : [key, cert];
  if (one.path && !other.path) throw wrong(`${one.name} is set without ${other.name}`);
  const file = [ca, cert].find(({ path }) => path);
  if (mode === 'disable' && file) throw wrong(`${file.name} is set, but sslmode is disable`);
  return mode ?? (file ? 'verify-full' : 'disable');
}

/** In libpq `sslrootcert=system` stands for the authorities that the machine trusts. */
function readTls(mode: Mode, ca: Source, cert: Source, key: Source): Tls {
  const authorities = ca.path === 'system' ? undefined : contentOf(ca);
  const [certificate, secret] = [contentOf(cert), contentOf(key)];
  checkCertificates(authorities, ca);
  checkCertificates(certificate, cert);
  try {
    const context = createSecureContext({
      minVersion: 'TLSv1.2',
      ...(authorities && { ca: authorities }),
      ...(certificate && secret && { cert: certificate, key: secret }),
    });
    const verify_issuer = mode !== 'require' || ca.path !== undefined;
    return { context, verify_issuer, verify_host: mode === 'verify-full' };
  } catch (cause) {
    // Not the cause itself, which may quote the file.
    throw wrong(
      `${key.name} ${key.path} is not the key of ${cert.name} ${cert.path}`,
      codeOf(cause),
    );
  }
}

function checkCertificates(text: string | undefined, { name, path }: Source): void {
  if (text === undefined) return;
  try {
    new X509Certificate(text);
  } catch {
    throw wrong(`${name} ${path} holds no certificate in PEM`);
  }
}

function contentOf({ path, name }: Source): string | undefined {
  if (path === undefined) return undefined;
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw wrong(`${name} ${path} cannot be read`, codeOf(cause));
  }
  if (text.trim() === '') throw wrong(`${name} ${path} is empty`);
  return text;
}

const wrong = (what: string, code = '') =>
  new Failure('store_unavailable', `configuration: ${what}${code && ` (${code})`}`);
