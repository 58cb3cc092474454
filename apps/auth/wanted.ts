/** Keys as calls and tools take and show them. */
import type { z } from 'zod';
import type { Key, WantedKey } from '../../db/keys/keys.ts';
import { SCOPES } from '../contract/scopes.ts';
import type { wantedKey } from '../contract/v1/keys.ts';

/** A wish of a caller, as the store takes it. Scopes come in one order, once each. */
export function wantedOf(wish: z.output<typeof wantedKey>): WantedKey {
  const { id = crypto.randomUUID(), principal = id, scopes, name } = wish;
  const { user_id, per_s, in_flight, ttl_s } = wish;
  return {
    id,
    principal,
    name: name ?? null,
    scopes: SCOPES.filter((scope) => scopes.includes(scope)).join(),
    user_id: user_id ?? null,
    per_s: per_s ?? null,
    in_flight: in_flight ?? null,
    ttl_s: ttl_s ?? null,
  };
}

export function keyOf({ id, principal, scopes, state, created_s, ...row }: Key) {
  const { name, user_id, per_s, in_flight, expires_s, revoked_s, used_s } = row;
  return {
    id,
    principal,
    ...(name !== null && { name }),
    scopes: scopes.split(','),
    ...(user_id !== null && { user_id }),
    ...(per_s !== null && { per_s }),
    ...(in_flight !== null && { in_flight }),
    ...{ state, created_at: secondOf(created_s) },
    ...(expires_s !== null && { expires_at: secondOf(expires_s) }),
    ...(revoked_s !== null && { revoked_at: secondOf(revoked_s) }),
    ...(used_s !== null && { last_used_at: secondOf(used_s) }),
  };
}

const secondOf = (s: number): string => new Date(1000 * s).toISOString();
