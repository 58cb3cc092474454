/** POST /v1/bulk: many writes of all services in one call. The order service serves it. */

import type { Context } from 'hono';
import { Hono } from 'hono';
import type { Answer, Command, Operation } from '../../db/command.ts';
import type { Store } from '../../db/store.ts';
import { scopeOf } from '../contract/call.ts';
import type { Scope } from '../contract/scopes.ts';
import { bulkCalls as calls } from '../contract/v1/bulk.ts';
import type { Env, Principal } from '../http/exchange.ts';
import { assertScope } from '../http/guard.ts';
import { askedBy } from '../http/owned.ts';
import { on } from '../http/route.ts';
import { assertRoom, operationFor, partOf, run, send } from '../http/submit.ts';
import { orderWrites } from '../order/v1/writes.ts';
import { userWrites } from '../payment/v1/writes.ts';
import { itemWrites } from '../stock/v1/writes.ts';
import { allOf, failed, oneOf, resultKeeper, resultsOf } from './answers.ts';
import { callReader, type Ready } from './calls.ts';

export function bulkRoutes(store: Store): Hono<Env> {
  const app = new Hono<Env>();
  const readCalls = callReader([...userWrites, ...itemWrites, ...orderWrites]);

  on(
    app,
    calls.run,
    (c, _, { mode, calls: given }) => {
      const ready = readCalls(given);
      if (c.env.principal) assertScopes(c.env.principal, ready);
      const operation = operationFor(c, calls.run);
      if (mode === 'each') return submitEach(c, store, ready, operation);
      return run(c, store, allOf(ready, c.env), operation);
    },
    assertRoom(store),
  );
  return app;
}

/** @throws RequestError forbidden: then none of the calls is made */
function assertScopes(principal: Principal, ready: readonly Ready[]): void {
  for (const { call } of ready) assertScope(principal, scopeOf(call) as Scope);
}

/**
 * Submits every call by itself. With an idempotency key each has a record of its own, so a repeat
 * gives the recorded answers, and makes the calls that have none.
 */
async function submitEach(
  c: Context<Env>,
  store: Store,
  ready: readonly Ready[],
  operation: Operation | undefined,
): Promise<Response> {
  // First: if another request has used the key, none of these calls may take effect.
  if (operation) await store.write({ ...BEGUN, ...askedBy(c.env) }, operation);
  const resultOf = resultKeeper();
  let all_replayed = true;
  const submitted = await Promise.allSettled(
    ready.map(async (one, i) => {
      const part = operation && partOf(operation, i);
      const { answer, replayed } = await store.write(oneOf(one, c.env), part).catch((error) => ({
        answer: failed(error),
        replayed: false,
      }));
      all_replayed &&= replayed;
      return resultOf(answer);
    }),
  );
  const results = submitted.map((one) => {
    if (one.status === 'rejected') throw one.reason;
    return one.value;
  });
  return send(c, { status: 200, body: resultsOf(results) }, all_replayed);
}

const BEGUN: Command<Answer> = {
  keys: {},
  decide: () => ({ outcome: { status: 200, body: '{}' } }),
};
