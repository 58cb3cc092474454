/** The call that makes many writes of /v1 at once. */
import { z } from 'zod';
import type { Call } from '../call.ts';
import { callsOf } from '../call.ts';
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

const call = z.strictObject({
  method: z.enum(['POST', 'PUT', 'PATCH', 'DELETE'], 'must be POST, PUT, PATCH or DELETE'),
  path: z
    .string('must be a path')
    .describe('The path of a write of /v1, such as `/v1/users/7/deposits`.'),
  // Checked later, against the type of its call.
  body: z.unknown().optional().meta({ type: 'object' }),
});

export const bulkCalls = callsOf('bulk', {
  run: {
    methods: ['POST'],
    path: '/v1/bulk',
    summary: 'Make up to 1,000 writes of /v1 in one call',
    description:
      'A bulk with a malformed call is refused whole. each: makes every call by itself, in any order, and answers each. all: makes the calls in their order, in one transaction; if one is refused, its refusal is the answer, with the index of the call, and nothing has changed.',
    params: {},
    body: z.strictObject({
      mode: z.enum(['each', 'all'], MODE),
      calls: z
        .array(call)
        .min(1, 'must have at least one call')
        .max(CALLS_MAX, `must have at most ${CALLS_MAX} calls`),
    }),
    body_max_bytes: 1024 * 1024,
    answer: z.strictObject({
      results: z
        .array(
          z.strictObject({
            status: z.int().min(200).max(599),
            body: z
              .looseObject({})
              .optional()
              .describe('Left out if the answer would exceed 4 MiB: read the order instead.'),
          }),
        )
        .describe('In the order of the calls.'),
    }),
    refusals: [...new Set(BULK_WRITES.flatMap(({ refusals }) => refusals))],
    writes: true,
  },
});
