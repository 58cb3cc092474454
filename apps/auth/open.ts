/** Authentication as it is configured: API keys from the store, and tokens of one issuer. */
import { systemClock } from '../../db/clock.ts';
import type { Log } from '../../db/log.ts';
import type { Store } from '../../db/store.ts';
import type { Guard } from '../http/exchange.ts';
import { ScopeGuard } from '../http/guard.ts';
import { CallLimits } from '../http/limits.ts';
import type { CredentialsOutcome } from '../http/metrics.ts';
import { networksIn } from '../http/networks.ts';
import { authenticator } from './authenticate.ts';
import { failureCounter } from './failures.ts';
import { KeyRing } from './keys.ts';
import { Observer } from './observer.ts';
import { type TokenConfig, tokenReader } from './tokens.ts';

export interface Authentication {
  guard: Guard;
  /** Before the store is closed. */
  close(): Promise<void>;
}

/** @param observed counts what credentials are worth, and nobody is refused */
export function openAuthentication(
  store: Pick<Store, 'keys' | 'read'>,
  config: TokenConfig & { AUTH_IN_FLIGHT: number | 'off'; TRUSTED_PROXIES: string },
  log: Log,
  observed?: (outcome: CredentialsOutcome) => void,
): Authentication {
  const ring = new KeyRing(store.keys, log);
  const proxies = networksIn(config.TRUSTED_PROXIES);
  const authenticate = authenticator({
    findKey: (key) => ring.find(key),
    readToken: config.AUTH_JWKS === undefined ? undefined : tokenReader(config, log),
    failures: observed ? { note: async () => {} } : failureCounter(log, proxies),
  });
  const { AUTH_IN_FLIGHT } = config;
  const limits = new CallLimits(systemClock, AUTH_IN_FLIGHT === 'off' ? undefined : AUTH_IN_FLIGHT);
  const guard = observed
    ? new Observer(authenticate, observed, log, proxies)
    : new ScopeGuard(authenticate, store.read, limits);
  return { guard, close: () => ring.close() };
}
