/**
 * What the contract says of a call. Routing, validation, OpenAPI, the docs page and tests read it.
 */
import type { z } from 'zod';
import type { Refusal } from '../../db/failure.ts';
import type { RequestCode } from './problems.ts';
import type { Scope } from './scopes.ts';

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

/** The parameters of a path, in its order. Each parses the text of its segment. */
export type Params = Readonly<Record<string, z.ZodType<unknown, string>>>;
export type Parsed<P extends Params> = { [K in keyof P]: z.output<P[K]> };
/** What a call takes beside its path: the fields of the body, or the parameters of the query. */
export type Input<C extends Call> = C['body'] extends z.ZodType
  ? z.output<C['body']>
  : C['query'] extends z.ZodType
    ? z.output<C['query']>
    : undefined;

export interface Call {
  /**
   * Unique within its tag: both together name the operation of OpenAPI and the method of the
   * client.
   */
  name: string;
  /** The heading under which the docs show it. */
  tag: Tag;
  /** The first is the usual one; the others make the same call. */
  methods: readonly Method[];
  /** Such as `/orders/find/{order_id}`. */
  path: string;
  summary: string;
  description?: string;
  params: Params;
  /** The JSON object that the call takes. Without it the call takes no body. */
  body?: z.ZodObject;
  /**
   * Bodies to start from. Sent from the first call of the contract to the last, with the ids that
   * Kassa answered, they all succeed; ids are those of `EXAMPLE_IDS`.
   */
  examples?: readonly Example[];
  /** The limit of its body, if it is larger than that of other calls: see message.ts. */
  body_max_bytes?: number;
  /**
   * The parameters of the query, only for a call without a body. Each is optional, and unknown ones
   * are refused. Without this field a call of /v1 refuses all of them; other calls ignore them.
   */
  query?: z.ZodObject;
  /** Of a success: 201 for a call that creates something, else 200. */
  status?: 200 | 201;
  /** The body of that answer. */
  answer: z.ZodType;
  /** Its success has an ETag, so a client that has it already gets 304. */
  tagged?: true;
  /** Rules that can refuse this call, and other codes that only this call has. */
  refusals: readonly (
    | Refusal
    | RequestCode
    | 'cursor_expired'
    | 'webhook_not_found'
    | 'key_not_found'
  )[];
  /**
   * True: it takes an idempotency key, and its answer is recorded. `repeatable`: it changes
   * something, but takes no key, since doing it twice does no harm.
   */
  writes: boolean | 'repeatable';
  /** If the call needs another scope than those of its resource: see scopes.ts. */
  scope?: Scope;
}

export interface Example {
  summary: string;
  body: Readonly<Record<string, unknown>>;
}

type Tag =
  | 'users'
  | 'items'
  | 'orders'
  | 'refunds'
  | 'bulk'
  | 'events'
  | 'webhooks'
  | 'keys'
  | 'path_orders'
  | 'path_payment'
  | 'path_stock'
  | 'health';
/** Calls that answer a page of a list. For these the client has a method that reads all pages. */
export type Paged = Call & {
  query: { shape: { after: unknown } };
  answer: { shape: { has_more: unknown } };
};

type Described = Omit<Call, 'name' | 'tag'>;

/**
 * Calls of one tag, by their names. Each is checked: its parameters are those of its path.
 * @throws Error for a call whose parameters are others
 */
export function callsOf<const All extends Readonly<Record<string, Described>>>(
  tag: Call['tag'],
  described: All,
): { readonly [Name in keyof All]: All[Name] & Pick<Call, 'name' | 'tag'> } {
  const named = Object.entries(described).map(([name, call]) => {
    const segments = [...call.path.matchAll(/\{(\w+)\}/g)].map(([, param]) => param);
    if (segments.join() !== Object.keys(call.params).join()) {
      throw new Error(`${name}: ${call.path} has other parameters`);
    }
    return [name, { ...call, name, tag }];
  });
  return Object.fromEntries(named);
}

type Resource = 'orders' | 'wallets' | 'stock' | 'events';

const RESOURCES: Readonly<Record<Exclude<Tag, 'bulk' | 'keys' | 'health'>, Resource>> = {
  orders: 'orders',
  refunds: 'orders',
  path_orders: 'orders',
  users: 'wallets',
  path_payment: 'wallets',
  items: 'stock',
  path_stock: 'stock',
  events: 'events',
  webhooks: 'events',
};

/**
 * The scope that a call needs: of its resource, to read or to write; or its own.
 * @returns `each` for a bulk, whose calls need theirs; undefined for a call that everybody may make
 */
export function scopeOf({ tag, writes, scope }: Call): Scope | 'each' | undefined {
  if (scope) return scope;
  if (tag === 'health') return undefined;
  if (tag === 'bulk') return 'each';
  if (tag === 'keys') return 'admin';
  return `${RESOURCES[tag]}:${writes ? 'write' : 'read'}`;
}
