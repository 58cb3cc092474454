/** Binds a call of the contract to what answers it. */
import type { Context, Hono } from 'hono';
import { Failure } from '../../db/failure.ts';
import { type Call, type Input, type Params, type Parsed, scopeOf } from '../contract/call.ts';
import { assertNoBody, readBody } from './bodies.ts';
import type { FieldError } from './errors.ts';
import type { Env } from './exchange.ts';
import { assertNoQuery, readQuery, wrongParameters } from './query.ts';

type Answering<C extends Call> = (
  c: Context<Env>,
  params: Parsed<C['params']>,
  input: Input<C>,
) => Response | Promise<Response>;

/** @param admit runs before anything is parsed */
export function on<C extends Call>(
  app: Hono<Env>,
  call: C,
  answer: Answering<C>,
  admit?: (c: Context<Env>) => void,
): void {
  const path = call.path.replaceAll(/\{(\w+)\}/g, ':$1');
  const params = Object.entries(call.params);
  const { body, query } = call;
  const route = routeName(path);
  const is_v1 = call.path.startsWith('/v1/');
  const scope = scopeOf(call);
  const work = (c: Context<Env>): Response | Promise<Response> => {
    if (!body) assertNoBody(c.env);
    admit?.(c);
    const parsed = parse(params, c, is_v1) as Parsed<C['params']>;
    if (is_v1 && !query) assertNoQuery(c.req.raw.url);
    const input = body
      ? readBody(body, call, c.req.raw.headers, c.env)
      : query && readQuery(query, c.req.raw.url);
    const { guard, principal } = c.env;
    if (!guard || principal?.user_id === undefined || call.writes === true) {
      return answer(c, parsed, input as Input<C>);
    }
    return guard
      .keepTo(principal.user_id, principal.name, call, parsed, input as Input<C>)
      .then((kept) => answer(c, parsed, kept));
  };
  app.on([...call.methods], path, (c: Context<Env>): Response | Promise<Response> => {
    c.env.route = route;
    const turn = c.env.guard?.admit(c.req.raw, c.env, scope);
    return turn ? turn.then(() => work(c)) : work(c);
  });
}

/**
 * The name of a route in metrics and logs: its path without parameters, such as `/orders/checkout`
 * and `/v1/orders/checkout`.
 * @param path a pattern of the router
 */
export const routeName = (path: string): string => withoutId(path).split('/:')[0] ?? '';

/** Under /v1 the id is the third segment. */
export const withoutId = (path: string): string => path.replace(/^(\/v1\/\w+)\/[^/]+/, '$1');

/** @throws Failure invalid_parameter; on /v1 with every wrong parameter in `errors` */
function parse(params: [string, Params[string]][], c: Context, is_v1: boolean) {
  const parsed: Record<string, unknown> = {};
  const errors: FieldError[] = [];
  for (const [name, type] of params) {
    const result = type.safeParse(c.req.param(name) ?? '');
    if (result.success) parsed[name] = result.data;
    else errors.push({ path: name, message: result.error.issues[0]?.message ?? 'is wrong' });
  }
  const [first] = errors;
  if (!first) return parsed;
  if (is_v1) throw wrongParameters(errors);
  throw new Failure('invalid_parameter', `${first.path} ${first.message}`);
}
