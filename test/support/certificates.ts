/** Certificates for the tests of TLS, with keys on P-256, as PEM. */
import 'reflect-metadata'; // @peculiar/x509 requires it
import {
  BasicConstraintsExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
} from '@peculiar/x509';

interface Subject {
  /** The common name. For a client it is the SQL role. */
  name: string;
  /** Host names and IPv4 addresses of a server. */
  hosts?: readonly string[];
  /** Days until the certificate expires; negative for an expired one. */
  days?: number;
}

/** A new, self-signed authority. Everything is PEM, like the files that an operator mounts. */
export async function newAuthority(name: string) {
  const keys = await newKeys();
  const signer = { issuer: `CN=${name}`, signingKey: keys.privateKey };
  const issue = async (subject: Subject, own?: CryptoKeyPair) => {
    const pair = own ?? (await newKeys());
    const pkcs8 = await crypto.subtle.exportKey('pkcs8', pair.privateKey);
    return {
      cert: await certificate(subject, pair, signer, pair === keys),
      key: PemConverter.encode(pkcs8, 'PRIVATE KEY'),
    };
  };
  return { ...(await issue({ name }, keys)), issue: (subject: Subject) => issue(subject) };
}

const P256 = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const DAY_MS = 86_400_000;

const newKeys = () => crypto.subtle.generateKey(P256, true, ['sign', 'verify']);

async function certificate(
  { name, hosts = [], days = 30 }: Subject,
  { publicKey }: CryptoKeyPair,
  signer: { issuer: string; signingKey: CryptoKey },
  isAuthority: boolean,
): Promise<string> {
  const expires_at = Date.now() + days * DAY_MS;
  const names = hosts.map((value) => ({
    type: /^[\d.]+$/.test(value) ? ('ip' as const) : ('dns' as const),
    value,
  }));
  const issued = await X509CertificateGenerator.create({
    ...signer,
    subject: `CN=${name}`,
    publicKey,
    signingAlgorithm: P256,
    notBefore: new Date(Math.min(Date.now(), expires_at) - 40 * DAY_MS),
    notAfter: new Date(expires_at),
    extensions: [
      new BasicConstraintsExtension(isAuthority, undefined, true),
      ...(names.length > 0 ? [new SubjectAlternativeNameExtension(names)] : []),
    ],
  });
  return issued.toString('pem');
}
