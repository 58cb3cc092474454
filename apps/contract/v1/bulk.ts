/** The call that makes many writes of /v1 at once. */
import { z } from 'zod';
import type { Call } from '../call.ts';
import { callsOf } from '../call.ts';
import { EXAMPLE_IDS, present } from '../values.ts';
import { itemCalls } from './items.ts';
import { orderCalls } from './orders.ts';
import { refundCalls } from './refunds.ts';
import { userCalls } from './users.ts';

const CALLS_MAX = 1000;
const MODE = 'must be "each" or "all"';

/** The writes that it takes. */
export const BULK_WRITES: readonly Call[] = [userCalls, itemCalls, orderCalls, refundCalls]
  .flatMap((calls): Call[] => Object.values(calls))
  .filter(({ writes }) => writes);

/** More than a path has in which every character of an id is escaped. */
const PATH_MAX = 300;

const call = z.strictObject({
  method: z
    .enum(['POST', 'PUT', 'PATCH', 'DELETE'], present('must be POST, PUT, PATCH or DELETE'))
    .describe('The method of the call.'),
  path: z
    .string(present('must be a path'))
    .max(PATH_MAX, `must have at most ${PATH_MAX} characters`)
    .describe(
      'The path of a write under /v1/users, /v1/items or /v1/orders, such as `/v1/users/7/deposits`.',
    ),
  // Checked later, against the type of its call.
  body: z.unknown().optional().meta({
    type: 'object',
    description:
      'The body of the call, if it takes one. Otherwise leave it out, or send `null` or `{}`.',
  }),
});

const { user_id, item_id } = EXAMPLE_IDS;
const deposit = { method: 'POST', path: `/v1/users/${user_id}/deposits`, body: { amount: 100 } };
const EXAMPLES = [
  {
    summary: 'each: two independent calls',
    body: {
      mode: 'each',
      calls: [deposit, { method: 'POST', path: `/v1/items/${item_id}/stock`, body: { delta: 10 } }],
    },
  },
  {
    summary: 'all: either both calls take effect, or neither does',
    body: {
      mode: 'all',
      calls: [
        deposit,
        {
          method: 'POST',
          path: '/v1/orders',
          body: { user_id, lines: [{ item_id, quantity: 1 }] },
        },
      ],
    },
  },
];

export const bulkCalls = callsOf('bulk', {
  run: {
    methods: ['POST'],
    path: '/v1/bulk',
    summary: 'Make up to 1,000 writes of /v1 in one call',
    description:
      "If one call is malformed, the whole bulk is refused. With `each`, every call is made by itself, in any order, and has its own answer. With `all`, the calls are made in the given order, in one transaction: if one is refused, nothing changes, and the answer is that call's refusal with its `index`, counted from 0; a call may use an id that you chose in an earlier one. One `Idempotency-Key` covers the whole bulk.",
    params: {},
    body: z.strictObject({
      mode: z
        .enum(['each', 'all'], present(MODE))
        .describe('`each`: every call by itself. `all`: all of them or none.'),
      calls: z
        .array(call, present('must be a list of calls'))
        .min(1, 'must have at least one call')
        .max(CALLS_MAX, `must have at most ${CALLS_MAX} calls`)
        .describe('The calls to make.'),
    }),
    examples: EXAMPLES,
    body_max_bytes: 1024 * 1024,
    answer: z.strictObject({
      results: z
        .array(
          z.strictObject({
            status: z.int().min(200).max(599).describe('The HTTP status of the call.'),
            body: z
              .looseObject({})
              .optional()
              .describe(
                'The answer or the problem that the call would have given by itself. Left out if the whole answer would exceed 4 MiB: read the order instead.',
              ),
          }),
        )
        .describe('One result for each call, in the order of the calls.'),
    }),
    refusals: [...new Set(BULK_WRITES.flatMap(({ refusals }) => refusals))],
    writes: true,
  },
});
