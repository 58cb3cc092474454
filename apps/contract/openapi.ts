/** The contract as an OpenAPI 3.1 document. */
import type { z } from 'zod';
import { adviceOn } from './advice.ts';
import { type Call, type Method, scopeOf } from './call.ts';
import { CALLS } from './calls.ts';
import { HEADERS, type Json, PARAMETERS, Problem, schemaOf } from './components.ts';
import { PROBLEM_TYPE, PROBLEMS, type ProblemCode, RETRY_LATER } from './problems.ts';

export const TAGS = {
  users: 'Users and their credit',
  items: 'Items, their price and stock',
  orders: 'Orders, and purchases in one call',
  refunds: 'Refunds of paid orders, in full or by line',
  bulk: 'Bulk: many writes in one call',
  events: 'Events: what has happened, in order',
  webhooks: 'Webhooks: events sent to your URLs',
  keys: 'Keys: who may call',
  path_orders: 'Path calls: orders and checkout',
  path_payment: 'Path calls: users, their credit, and payments',
  path_stock: 'Path calls: items, their price and stock',
  health: 'Health checks',
} as const satisfies Record<Call['tag'], string>;

/** Answers that many calls have, by the names of OpenAPI's components. */
const SHARED = {
  BadRequest: ['malformed_request', 'invalid_parameter'],
  RequestTimeout: ['request_timeout'],
  BodyTooLarge: ['body_too_large'],
  UnsupportedBody: ['unsupported_body'],
  UnsupportedType: ['unsupported_type'],
  BadBody: ['malformed_request', 'invalid_parameter', 'malformed_body', 'invalid_body'],
  HostNotAllowed: ['host_not_allowed'],
  Unauthenticated: ['unauthenticated'],
  Forbidden: ['forbidden'],
  Busy: ['overloaded', 'contention', 'rate_limited'],
  HeadTooLarge: ['head_too_large'],
  Internal: ['internal'],
  Unavailable: ['store_unavailable', 'not_ready'],
  CrossSite: ['cross_site_request', 'forbidden'],
  KeyReused: ['idempotency_key_reused', 'idempotency_key_unowned'],
  UnavailableOrUnknown: ['store_unavailable', 'not_ready', 'outcome_unknown'],
} as const satisfies Record<string, readonly ProblemCode[]>;
type Shared = keyof typeof SHARED;

const OF_READS: readonly Shared[] = [
  'BadRequest',
  'RequestTimeout',
  'BodyTooLarge',
  'UnsupportedBody',
  'Unauthenticated',
  'Forbidden',
  'HostNotAllowed',
  'Busy',
  'HeadTooLarge',
  'Internal',
  'Unavailable',
];
const OF_WRITES: readonly Shared[] = [
  ...OF_READS.filter((name) => name !== 'Unavailable' && name !== 'Forbidden'),
  'CrossSite',
  'KeyReused',
  'UnavailableOrUnknown',
];

const OF_REPEATABLE: readonly Shared[] = [
  ...OF_READS.filter((name) => name !== 'Forbidden'),
  'CrossSite',
];

/** Every code that a call can be answered. */
export const codesOf = (call: Call): ProblemCode[] => [
  ...call.refusals,
  ...sharedOf(call).flatMap((name) => SHARED[name]),
];

function sharedOf(call: Call): readonly Shared[] {
  const { writes, body } = call;
  const open = scopeOf(call) === undefined;
  return (writes === true ? OF_WRITES : writes ? OF_REPEATABLE : OF_READS)
    .filter((name) => !open || !OF_GUARD.includes(name))
    .map((name) => (body && WITH_BODY[name]) ?? name);
}

/** Where authentication is on. */
const OF_GUARD: readonly Shared[] = ['Unauthenticated', 'Forbidden'];

/** What takes the place of an answer if the call has a body. */
const WITH_BODY: Partial<Record<Shared, Shared>> = {
  BadRequest: 'BadBody',
  UnsupportedBody: 'UnsupportedType',
};

/** @param version of the API, such as `0.1.0` */
export function openApi(version: string): Json {
  const paths: Record<string, Json> = {};
  for (const call of CALLS) {
    const path = paths[call.path] ?? {};
    for (const method of call.methods) path[method.toLowerCase()] = operation(call, method);
    paths[call.path] = path;
  }
  return {
    openapi: '3.1.1',
    info: {
      title: 'Kassa',
      version,
      summary: 'Checkout for the web: orders, payment and stock',
      description: ABOUT,
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: '/' }],
    // Where authentication is on; the calls of `health` need none.
    security: [{ bearer: [] }, {}],
    tags: Object.entries(TAGS).map(([name, description]) => ({ name, description })),
    paths,
    components: {
      schemas: { Problem },
      responses: RESPONSES,
      parameters: PARAMETERS,
      headers: HEADERS,
      securitySchemes: {
        bearer: {
          type: 'http',
          scheme: 'bearer',
          description: 'An API key or a token, where authentication is on.',
        },
      },
    },
  };
}

const ABOUT = `Amounts are whole numbers of the smallest unit, such as cents. After a 4xx, or a 503 other than
\`outcome_unknown\`, nothing has changed. If an answer has \`Retry-After\`, wait that many seconds, then send the call
again. A call with an \`Idempotency-Key\` may always be sent again: it takes effect once. Where authentication is on, all
answers to a caller with limits, good or bad, have \`RateLimit-Policy\` and \`RateLimit\`.`;

function operation(call: Call, method: Method): Json {
  const { name, tag, summary, description, params, body, query, status = 200, answer } = call;
  const { tagged = false } = call;
  const takes_key = call.writes === true;
  const scope = scopeOf(call);
  const first = method === call.methods[0];
  const parameters = [
    ...Object.entries(params).map(([param, type]) => parameter(param, 'path', type)),
    ...Object.entries(query?.shape ?? {}).map(([param, type]) =>
      parameter(param, 'query', type as z.ZodType),
    ),
  ];
  if (takes_key) parameters.push({ $ref: '#/components/parameters/Idempotency-Key' });
  if (tagged) parameters.push({ $ref: '#/components/parameters/If-None-Match' });
  return {
    operationId: `${tag}.${name}${first ? '' : `By${method[0]}${method.slice(1).toLowerCase()}`}`,
    tags: [tag],
    summary,
    security: scope ? [{ bearer: scope === 'each' ? [] : [scope] }, {}] : [],
    ...(description && { description }),
    ...(parameters.length > 0 && { parameters }),
    ...(body && {
      requestBody: {
        required: true,
        content: { 'application/json': { schema: schemaOf(body, 'input'), ...examplesOf(call) } },
      },
    }),
    responses: {
      [status]: {
        description: 'Success.',
        headers: headersOf(
          'X-Request-Id',
          ...(takes_key ? ['Idempotency-Replayed'] : []),
          ...(status === 201 ? ['Location'] : []),
          ...(tagged ? ['ETag'] : []),
          ...(scope ? LIMITS : []),
        ),
        content: { 'application/json': { schema: schemaOf(answer) } },
      },
      ...(tagged ? { 304: { $ref: '#/components/responses/NotModified' } } : {}),
      ...problemsOf(call),
    },
  };
}

function parameter(name: string, at: 'path' | 'query', type: z.ZodType): Json {
  const { description, ...schema } = schemaOf(type);
  const required = at === 'path' && { required: true };
  return { name, in: at, ...required, description, schema };
}

function examplesOf({ examples }: Call): Json {
  const named = examples?.map(({ summary, body }, i) => {
    return [`example_${i + 1}`, { summary, value: body }] as const;
  });
  return named ? { examples: Object.fromEntries(named) } : {};
}

/** A response for each status. Those without a code of this call alone are shared. */
function problemsOf(call: Call): Record<string, Json> {
  const by_status = Map.groupBy(codesOf(call), (code) => PROBLEMS[code].status);
  const shared = sharedOf(call);
  return Object.fromEntries(
    [...by_status].map(([status, codes]) => {
      const name = shared.find((one) => SHARED[one].join() === codes.join());
      return [status, name ? { $ref: `#/components/responses/${name}` } : problem(codes)];
    }),
  );
}

function problem(codes: readonly ProblemCode[]): Json {
  const later = codes.some((code) => RETRY_LATER.has(code)) ? ['Retry-After'] : [];
  const limits = codes.includes('rate_limited') ? LIMITS : [];
  return {
    description: codes.map((code) => `\`${code}\`: ${adviceOn(code).meaning}`).join(' '),
    headers: headersOf('X-Request-Id', ...later, ...limits),
    content: {
      [PROBLEM_TYPE]: {
        schema: {
          allOf: [{ $ref: '#/components/schemas/Problem' }],
          properties: { code: { enum: codes } },
        },
      },
    },
  };
}

const LIMITS = ['RateLimit-Policy', 'RateLimit'];
const headersOf = (...names: string[]): Json =>
  Object.fromEntries(names.map((name) => [name, { $ref: `#/components/headers/${name}` }]));

const RESPONSES: Json = {
  ...Object.fromEntries(Object.entries(SHARED).map(([name, codes]) => [name, problem(codes)])),
  NotModified: {
    description:
      'Nothing has changed since the answer that `If-None-Match` names. There is no body.',
    headers: headersOf('X-Request-Id', 'ETag'),
  },
};
