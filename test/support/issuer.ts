/** An issuer of tokens, good ones and evil ones, with its keys on a server. */
import { Buffer } from 'node:buffer';
import { exportJWK, generateKeyPair, type JWK } from 'jose';
import { tokenReader } from '../../apps/auth/tokens.ts';
import { CodedError } from '../../db/failure.ts';

const SIGNING = {
  ES256: { name: 'ECDSA', hash: 'SHA-256' },
  RS256: { name: 'RSASSA-PKCS1-v1_5' },
  RS512: { name: 'RSASSA-PKCS1-v1_5' },
  PS256: { name: 'RSA-PSS', saltLength: 32 },
  EdDSA: { name: 'Ed25519' },
} as const;
type Algorithm = keyof typeof SIGNING;

export interface Key {
  alg: Algorithm;
  kid: string;
  private_key: CryptoKey;
  public_key: CryptoKey;
  /** The public key, as the issuer shows it. */
  jwk: JWK;
}

export async function newKey(alg: Algorithm, kid: string): Promise<Key> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  const jwk: JWK = { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' };
  return { alg, kid, private_key: privateKey, public_key: publicKey, jwk };
}

export const ISSUER = 'https://id.example';
export const AUDIENCE = 'kassa';
export const nowS = (): number => Math.floor(Date.now() / 1000);
const CLAIMS = { iss: ISSUER, aud: AUDIENCE, sub: 'ada', scope: 'orders:read orders:write' };
export const goodClaims = () => ({ ...CLAIMS, exp: nowS() + 600 });

export const encode = (text: string | Uint8Array): string =>
  Buffer.from(text as string).toString('base64url');

/** A token. @param claims as an object, beside good ones; or the text in their place */
export async function signed(
  key: Key,
  claims: Record<string, unknown> | string | Uint8Array = {},
  header: Record<string, unknown> | string = {},
): Promise<string> {
  const is_text = typeof claims === 'string' || claims instanceof Uint8Array;
  const payload = is_text ? claims : JSON.stringify({ ...goodClaims(), ...claims });
  const full = {
    alg: key.alg,
    kid: key.kid,
    typ: 'JWT',
    ...(typeof header === 'object' && header),
  };
  const head = typeof header === 'string' ? header : JSON.stringify(full);
  const input = `${encode(head)}.${encode(payload)}`;
  const bytes = new TextEncoder().encode(input);
  const signature = await crypto.subtle.sign(SIGNING[key.alg], key.private_key, bytes);
  return `${input}.${encode(new Uint8Array(signature))}`;
}

/** Serves the public keys, or what a test wants instead. */
export function openIssuer(...keys: Key[]) {
  const issuer = {
    keys: keys.map(({ jwk }) => jwk),
    /** How often somebody came. */
    requests: 0,
    answer: (): Response | Promise<Response> => Response.json({ keys: issuer.keys }),
    url: '',
    close: () => server.stop(true),
  };
  const server = Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    idleTimeout: 60,
    fetch() {
      issuer.requests++;
      return issuer.answer();
    },
  });
  issuer.url = `http://127.0.0.1:${server.port}/jwks.json`;
  return issuer;
}

/** A reader of tokens, what it logs, and a clock that stands still. */
export function openReader(AUTH_JWKS: string, AUTH_ALGORITHMS = ['ES256', 'RS256']) {
  const config = { AUTH_JWKS, AUTH_ISSUER: ISSUER, AUTH_AUDIENCE: AUDIENCE, AUTH_ALGORITHMS };
  const log: { level: string; event: string; fields: Record<string, unknown> }[] = [];
  const clock = { now_ms: 0 };
  const write = (level: string, event: string, fields: Record<string, unknown>) => {
    log.push({ level, event, fields });
  };
  const read = tokenReader(config, write, () => clock.now_ms);
  return {
    read,
    log,
    clock,
    /** What the caller is told: `ok`, or code and detail. Anything else is thrown. */
    async outcome(token: string): Promise<string> {
      try {
        await read(token);
        return 'ok';
      } catch (error) {
        if (error instanceof CodedError) return error.message;
        throw error;
      }
    },
  };
}

export const NOT_VALID = 'unauthenticated: the token is not valid';
export const EXPIRED = 'unauthenticated: the token has expired';
export const NOT_READY = 'not_ready: the keys of the issuer cannot be read; nothing was done';
