/** Reads tokens (JWT): who calls, by the word of the issuer that the configuration names. */
import { hash as digest } from 'node:crypto';
import { errors, type JWTPayload, type JWTVerifyOptions, jwtVerify } from 'jose';
import { assert, Failure } from '../../db/failure.ts';
import type { Log } from '../../db/log.ts';
import type { Principal } from '../http/exchange.ts';
import { RequestError } from '../http/problem.ts';
import { principalOf } from './claims.ts';
import { IssuerKeys } from './issuer-keys.ts';
import { RecentTokens } from './recent-tokens.ts';
import { assertClaimsText, assertShape, Unfit } from './token-text.ts';

export interface TokenConfig {
  /** URL or path of the keys of the issuer. */
  AUTH_JWKS?: string | undefined;
  AUTH_ISSUER?: string | undefined;
  AUTH_AUDIENCE?: string | undefined;
  /** Of each bearer. */
  AUTH_TOKEN_PER_S?: number | undefined;
  AUTH_TOKEN_IN_FLIGHT?: number | undefined;
  /** None that works with a shared secret. */
  AUTH_ALGORITHMS: readonly string[];
}

/** How far the clocks of issuer and service may be apart. */
const CLOCK_SKEW_S = 30;
/** A token cannot be revoked: callers that stay take an API key. */
const LIFETIME_MAX_S = 31 * 86_400;

/**
 * @param clock milliseconds, for the age of keys
 * @returns reads a token. It throws RequestError unauthenticated, and Failure not_ready while
 *   nobody can tell, since the keys cannot be read.
 */
export function tokenReader(
  config: TokenConfig,
  log: Log,
  clock: () => number = () => performance.now(),
): (token: string) => Promise<Principal> {
  const { AUTH_JWKS = '', AUTH_ALGORITHMS } = config;
  const options = optionsOf(config);
  const limits = { per_s: config.AUTH_TOKEN_PER_S, in_flight: config.AUTH_TOKEN_IN_FLIGHT };
  const limited = limits.per_s !== undefined || limits.in_flight !== undefined;
  const keys = new IssuerKeys(AUTH_JWKS, AUTH_ALGORITHMS, log, clock);
  const recent = new RecentTokens(clock);

  async function read(token: string): Promise<Principal> {
    assertShape(token);
    const hash = digest('sha256', token, 'base64');
    const { generation } = keys;
    const known = recent.find(hash, generation);
    if (known) return known;
    const { payload } = await jwtVerify(token, keys.find, options);
    assertClaimsText(token);
    const expires_at_s = endOf(payload);
    const principal = { ...principalOf(payload), ...(limited && { limits }) };
    recent.add(hash, { principal, expires_at_s, generation });
    return principal;
  }

  return async (token) => {
    try {
      return await read(token);
    } catch (error) {
      if (error instanceof Failure) throw error;
      throw refused(error, log);
    }
  };
}

/** jose leaves out a check whose option is undefined. */
function optionsOf({ AUTH_JWKS, AUTH_ISSUER, AUTH_AUDIENCE, AUTH_ALGORITHMS }: TokenConfig) {
  assert(AUTH_JWKS && AUTH_ISSUER && AUTH_AUDIENCE, 'AUTH_JWKS has an issuer and an audience');
  assert(AUTH_ALGORITHMS.length > 0, 'some algorithm is allowed');
  return {
    algorithms: [...AUTH_ALGORITHMS],
    issuer: AUTH_ISSUER,
    audience: AUTH_AUDIENCE,
    clockTolerance: CLOCK_SKEW_S,
    requiredClaims: ['exp'],
  } satisfies JWTVerifyOptions;
}

/** Checks of the times what jose does not. @throws Unfit */
function endOf({ iat = 0, exp = Number.POSITIVE_INFINITY }: JWTPayload): number {
  const now_s = Date.now() / 1000;
  if (iat > now_s + CLOCK_SKEW_S) throw new Unfit('iat is in the future');
  if (exp > now_s + LIFETIME_MAX_S) throw new Unfit('exp is too far away');
  return exp;
}

/** The caller learns nothing that helps to make a better one. Only a genuine token has expired. */
function refused(error: unknown, log: Log): RequestError {
  if (error instanceof errors.JOSEError || error instanceof Unfit) {
    log('debug', 'token_refused', { reason: error.message });
  } else {
    log('warn', 'token_refused', { error });
  }
  const expired = error instanceof errors.JWTExpired;
  const detail = expired ? 'the token has expired' : 'the token is not valid';
  return new RequestError('unauthenticated', detail);
}
