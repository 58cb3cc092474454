/** Who calls, and whether they may, where authentication is on. */
import type { Context } from 'hono';
import { Failure } from '../../db/failure.ts';
import type { Call, scopeOf } from '../contract/call.ts';
import { allows, NOT_FOR_USERS, type Scope } from '../contract/scopes.ts';
import { CallTurns } from './call-turns.ts';
import type { Env, Exchange, Guard, Incoming, Principal } from './exchange.ts';
import { CallLimits } from './limits.ts';
import { RequestError } from './problem.ts';

/**
 * Whose request it is: at once if that is known.
 * @param slows false: a refusal is not delayed, however often its address has failed
 * @throws RequestError unauthenticated, Failure while nobody can tell; or the promise rejects with it
 */
export type Authenticate = (request: Incoming, slows?: boolean) => Principal | Promise<Principal>;

interface Orders {
  owns(user_id: string, order_id: string, principal: string): Promise<boolean>;
}

export class ScopeGuard implements Guard {
  readonly #authenticate: Authenticate;
  readonly #orders: Orders;
  readonly #limits: CallLimits;
  readonly #turns = new CallTurns();

  constructor(authenticate: Authenticate, orders: Orders, limits = new CallLimits()) {
    this.#authenticate = authenticate;
    this.#orders = orders;
    this.#limits = limits;
  }

  takesTurns = (): boolean => this.#turns.taken;

  async identify(request: Incoming, exchange: Exchange) {
    this.#count(await this.#authenticate(request), exchange);
  }

  admit(request: Incoming, exchange: Exchange, wanted: ReturnType<typeof scopeOf>) {
    if (wanted === undefined) return;
    const principal = this.#authenticate(request);
    return principal instanceof Promise
      ? principal.then((known) => this.#begin(known, exchange, wanted))
      : this.#begin(principal, exchange, wanted);
  }

  #begin(principal: Principal, exchange: Exchange, wanted: Scope | 'each') {
    const turn = this.#turns.take(principal.name);
    try {
      this.#count(principal, exchange); // calls without the scope count too
      if (wanted !== 'each') assertScope(principal, wanted);
    } catch (error) {
      if (!turn) throw error;
      return turn.then(() => Promise.reject(error)); // refusals take turns too
    }
    return turn;
  }

  #count(principal: Principal, exchange: Exchange): void {
    exchange.principal = principal;
    exchange.limited ??= this.#limits.admit(principal);
  }

  async holds(request: Incoming): Promise<boolean> {
    try {
      await this.#authenticate(request, false);
      return true;
    } catch (error) {
      return !(error instanceof RequestError);
    }
  }

  async keepTo<I>(
    own: string,
    name: string,
    call: Call,
    params: Record<string, unknown>,
    query: I,
  ): Promise<I> {
    const { user_id, order_id } = params;
    if (user_id !== undefined && user_id !== own) {
      const tells_users = call.refusals.includes('user_not_found');
      throw tells_users ? noUser(String(user_id)) : noOrder(String(order_id));
    }
    if (order_id !== undefined && !(await this.#orders.owns(own, String(order_id), name))) {
      throw noOrder(String(order_id));
    }
    if (call.query && 'user_id' in call.query.shape) {
      const { user_id: asked = own } = query as { user_id?: string };
      if (asked !== own) throw forbidden(`these credentials are for the user ${own} only`);
      return { ...query, user_id: own };
    }
    const of_all = user_id === undefined && order_id === undefined;
    if (of_all && !OF_EVERYBODY.includes(`${call.tag}.${call.name}`)) {
      throw forbidden(`these credentials are for the user ${own} only`);
    }
    return query;
  }
}

/** @throws RequestError forbidden */
export function assertScope({ scopes, user_id }: Principal, wanted: Scope): void {
  const granted =
    user_id === undefined
      ? allows(scopes, wanted)
      : scopes.has(wanted) && !NOT_FOR_USERS.includes(wanted);
  if (!granted) throw forbidden(`these credentials lack the scope ${wanted}`);
}

/** Calls that tell nothing of any user. */
const OF_EVERYBODY = ['items.get', 'items.list', 'path_stock.findItem'];

const forbidden = (detail: string) => new RequestError('forbidden', detail);
const noUser = (id: string) => new Failure('user_not_found', `no user ${id}`);
const noOrder = (id: string) => new Failure('order_not_found', `no order ${id}`);

/** For what is no call of the contract, by its route: a path can be spelt in several ways. */
export const only =
  (scope: Scope, route?: string) => async (c: Context<Env>, next: () => Promise<void>) => {
    if (route !== undefined) c.env.route = route;
    await c.env.guard?.admit(c.req.raw, c.env, scope);
    await next();
  };

/** How long an answer may go on before its credentials are looked at again. */
const LOOK_EVERY_MS = 2000;

/** For an answer that goes on: whether its credentials are still valid, looked at now and then. */
export function stillHolds(c: Context<Env>): () => Promise<boolean> {
  const { guard } = c.env;
  const request = c.req.raw;
  let look_at = performance.now() + LOOK_EVERY_MS;
  return async () => {
    if (!guard || performance.now() < look_at) return true;
    look_at = performance.now() + LOOK_EVERY_MS;
    return guard.holds(request);
  };
}
