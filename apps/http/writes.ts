/** The writes of /v1: each call of the contract with the command that it becomes. */
import type { Hono } from 'hono';
import type { Command } from '../../db/command.ts';
import type { Store } from '../../db/store.ts';
import type { Call, Input, Parsed } from '../contract/call.ts';
import type { Env } from './exchange.ts';
import { on } from './route.ts';
import { assertRoom, submitJson } from './submit.ts';

export interface Write {
  call: Call;
  /** Takes parameters and body as the contract has parsed them. */
  commandFor(params: Record<string, unknown>, body: unknown): Command;
}

export const write = <C extends Call>(
  call: C,
  commandFor: (params: Parsed<C['params']>, body: Input<C>) => Command,
): Write => ({ call, commandFor: commandFor as Write['commandFor'] });

/** Adds a route for each of them, which submits its command alone. */
export function routeWrites(app: Hono<Env>, store: Store, writes: readonly Write[]): void {
  for (const { call, commandFor } of writes) {
    const admit = call.body && assertRoom(store);
    on(app, call, (c, params, body) => submitJson(c, store, call, commandFor(params, body)), admit);
  }
}
