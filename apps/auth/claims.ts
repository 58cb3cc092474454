/** What the claims of a token say about its bearer. */
import type { JWTPayload } from 'jose';
import { scopesFor } from '../contract/scopes.ts';
import { id } from '../contract/values.ts';
import type { Principal } from '../http/exchange.ts';
import { Unfit } from './token-text.ts';

/** @throws Unfit A claim of the wrong type is not treated as absent: it may restrict. */
export function principalOf(claims: JWTPayload): Principal {
  const { sub } = claims;
  if (typeof sub !== 'string' || !/^[\x20-\x7e]{1,128}$/.test(sub)) throw new Unfit('sub is wrong');
  const user_id = userOf(claims);
  return {
    name: `token:${sub}`,
    scopes: scopesFor(wordsOf(claims), user_id),
    ...(user_id !== undefined && { user_id }),
  };
}

function userOf(claims: JWTPayload): string | undefined {
  if (!Object.hasOwn(claims, 'user_id')) return undefined;
  const { data, success } = id.safeParse(claims.user_id);
  if (!success) throw new Unfit('user_id is wrong');
  return data;
}

function wordsOf({ scope, scopes }: JWTPayload): string[] {
  if (scope !== undefined && scopes !== undefined) throw new Unfit('has both scope and scopes');
  if (scope !== undefined && typeof scope !== 'string') throw new Unfit('scope is wrong');
  const words = scope?.split(' ') ?? (scopes === undefined ? [] : scopes);
  const is_list = Array.isArray(words) && words.every((word) => typeof word === 'string');
  if (!is_list) throw new Unfit('scopes is wrong');
  return words;
}
