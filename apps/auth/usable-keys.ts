/** Which keys of a JSON Web Key Set can verify tokens. */
import { importJWK, type JWK } from 'jose';

/** By type and curve, for keys that do not name their algorithm: to see whether they work. */
const ALGORITHM_OF: ReadonlyMap<string, string> = new Map([
  ...([
    ['RSA', 'RS256'],
    ['EC P-256', 'ES256'],
    ['OKP Ed25519', 'EdDSA'],
  ] as const),
]);
const RSA_MIN_BITS = 2048;

interface Usable {
  keys: JWK[];
  /** Those that look as if they were meant for tokens. */
  ignored: { kid: unknown; reason: string }[];
}

/** @throws Error if the text is no set of keys. A set without keys is one. */
export async function usableKeys(text: string, algorithms: readonly string[]): Promise<Usable> {
  const usable: Usable = { keys: [], ignored: [] };
  for (const key of keysIn(text)) {
    if (!isForTokens(key, algorithms)) continue;
    const reason = await faultOf(key);
    if (reason === '') usable.keys.push(key);
    else usable.ignored.push({ kid: key.kid, reason });
  }
  return usable;
}

function keysIn(text: string): JWK[] {
  let set: unknown;
  try {
    set = JSON.parse(text);
  } catch {
    throw new Error('the keys of the issuer are not JSON');
  }
  const keys = (set as { keys?: unknown } | null)?.keys;
  if (!Array.isArray(keys) || !keys.every(isObject)) throw new Error('it is no set of keys (JWKS)');
  return keys;
}

const isObject = (value: unknown): value is JWK =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** An issuer has keys for other purposes too. */
const isForTokens = (key: JWK, algorithms: readonly string[]): boolean =>
  ALGORITHM_OF.has(kindOf(key)) &&
  (key.use === undefined || key.use === 'sig') &&
  (key.alg === undefined || algorithms.includes(key.alg));

const kindOf = ({ kty, crv }: JWK): string => (kty === 'RSA' ? kty : `${kty} ${crv}`);

/** Why no token could be verified with it, or ''. */
async function faultOf(key: JWK): Promise<string> {
  try {
    const imported = await importJWK(key, key.alg ?? ALGORITHM_OF.get(kindOf(key)));
    if (imported instanceof Uint8Array || imported.type !== 'public') return 'it is no public key';
    const { modulusLength: bits = RSA_MIN_BITS } = imported.algorithm as { modulusLength?: number };
    return bits < RSA_MIN_BITS ? `it has fewer than ${RSA_MIN_BITS} bits` : '';
  } catch {
    return 'it is malformed';
  }
}
