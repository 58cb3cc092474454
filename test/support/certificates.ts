/** Certificates for the tests of TLS, made here: X.509 v3 in DER, keys on P-256 (RFC 5280). */
import {
  createPrivateKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
} from 'node:crypto';

/** As PEM, like the files that an operator mounts. */
export interface Issued {
  cert: string;
  key: string;
}

export interface Subject {
  /** The common name; a client's is its role. */
  name: string;
  /** Host names and IPv4 addresses that a server may be reached by. */
  hosts?: readonly string[];
  /** Days from now to the end; a negative number makes an expired one. */
  days?: number;
}

/** An authority of its own: signs itself, and others with `issue`. */
export function newAuthority(name: string): Issued & { issue(subject: Subject): Issued } {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const mine = { issuer: name, key: privateKey };
  return {
    cert: certificate({ name }, publicKey, mine, true),
    key: pemOf(privateKey),
    issue(subject) {
      const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      return {
        cert: certificate(subject, pair.publicKey, mine, false),
        key: pemOf(pair.privateKey),
      };
    },
  };
}

const pemOf = (key: KeyObject): string => key.export({ type: 'pkcs8', format: 'pem' }) as string;

interface Issuer {
  issuer: string;
  key: KeyObject;
}

function certificate(
  { name, hosts = [], days = 30 }: Subject,
  public_key: KeyObject,
  { issuer, key }: Issuer,
  is_authority: boolean,
): string {
  const day_ms = 86_400_000;
  const until = Date.now() + days * day_ms;
  const body = sequence(
    der(0xa0, der(0x02, Buffer.of(2))), // version 3
    der(0x02, Buffer.concat([Buffer.of(1), randomBytes(15)])), // serial number
    ECDSA_SHA256,
    distinguishedName(issuer),
    sequence(time(Math.min(Date.now(), until) - 40 * day_ms), time(until)),
    distinguishedName(name),
    public_key.export({ type: 'spki', format: 'der' }),
    der(0xa3, sequence(...extensions(hosts, is_authority))),
  );
  const signature = sign('sha256', body, createPrivateKey(pemOf(key)));
  const whole = sequence(body, ECDSA_SHA256, der(0x03, Buffer.concat([Buffer.of(0), signature])));
  const lines = whole.toString('base64').match(/.{1,64}/g) ?? [];
  return ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----', ''].join('\n');
}

function extensions(hosts: readonly string[], is_authority: boolean): Buffer[] {
  const critical = der(0x01, Buffer.of(0xff));
  const constraints = sequence(...(is_authority ? [critical] : []));
  const all = [sequence(oid('551d13'), critical, der(0x04, constraints))];
  const names = hosts.map((host) =>
    /^[\d.]+$/.test(host)
      ? der(0x87, Buffer.from(host.split('.').map(Number)))
      : der(0x82, Buffer.from(host)),
  );
  if (names.length > 0) all.push(sequence(oid('551d11'), der(0x04, sequence(...names))));
  return all;
}

const distinguishedName = (name: string): Buffer =>
  sequence(der(0x31, sequence(oid('550403'), der(0x0c, Buffer.from(name))))); // common name, UTF-8

/** UTCTime: two digits each, to the second. */
const time = (at: number): Buffer =>
  der(0x17, Buffer.from(`${new Date(at).toISOString().replace(/\D/g, '').slice(2, 14)}Z`));

/** Tag, length, content. */
function der(tag: number, content: Buffer): Buffer {
  const { length } = content;
  const size =
    length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.of(tag, ...size), content]);
}

const sequence = (...parts: Buffer[]): Buffer => der(0x30, Buffer.concat(parts));
const oid = (hex: string): Buffer => der(0x06, Buffer.from(hex, 'hex'));
const ECDSA_SHA256 = sequence(oid('2a8648ce3d040302'));
