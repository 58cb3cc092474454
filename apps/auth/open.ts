/** Authentication as it is configured: API keys from the store, and tokens of one issuer. */
import type { Log } from '../../db/log.ts';
import type { Store } from '../../db/store.ts';
import type { Guard } from '../http/exchange.ts';
import { ScopeGuard } from '../http/guard.ts';
import { authenticator } from './authenticate.ts';
import { failureCounter } from './failures.ts';
import { KeyRing } from './keys.ts';
import { type TokenConfig, tokenReader } from './tokens.ts';

export interface Authentication {
  guard: Guard;
  /** Before the store is closed. */
  close(): Promise<void>;
}

export function openAuthentication(
  store: Pick<Store, 'keys' | 'read'>,
  config: TokenConfig,
  log: Log,
): Authentication {
  const ring = new KeyRing(store.keys, log);
  const findKey = (key: string) => ring.find(key);
  const readToken = config.AUTH_JWKS === undefined ? undefined : tokenReader(config, log);
  const authenticate = authenticator({ findKey, readToken, failures: failureCounter(log) });
  return { guard: new ScopeGuard(authenticate, store.read), close: () => ring.close() };
}
