/** The parts of the OpenAPI document that calls share: problems, headers, schemas. */
import { z } from 'zod';
import { CODES } from './problems.ts';
import { balance, item_id } from './values.ts';

export type Json = { [name: string]: unknown };

/** The body of a failure. */
export const problemBody = z
  .looseObject({
    type: z.string().describe('`urn:kassa:problem:` and the code.'),
    title: z.string().describe('A short summary of the code.'),
    status: z.int().min(400).max(599).describe('The HTTP status.'),
    detail: z
      .string()
      .describe('What went wrong in this call, for people. The wording may change.'),
    code: z.enum(CODES).describe('The kind of problem, for programs. Codes do not change.'),
    request_id: z
      .string()
      .describe(
        'Identifies the call in the log of the service. A problem within a bulk answer has none.',
      ),
    errors: z
      .array(
        z.strictObject({
          path: z.string().describe('The field or parameter, such as `lines[0].quantity`.'),
          message: z.string().describe('What is wrong with it, for people.'),
        }),
      )
      .optional()
      .describe(
        'With `invalid_body`, with `invalid_parameter` under /v1, and for a duplicate key: what is wrong, at most 20 entries.',
      ),
    items: z
      .array(
        z.strictObject({
          item_id,
          wanted: balance.describe('The quantity that the call asked for.'),
          available: balance
            .optional()
            .describe('With `out_of_stock`: how many units the call could have had.'),
          refundable: balance
            .optional()
            .describe('With `refund_exceeds`: how many are left to refund.'),
        }),
      )
      .optional()
      .describe('With `out_of_stock` and `refund_exceeds` under /v1: the items that fall short.'),
    shortfall: balance
      .optional()
      .describe('With `insufficient_credit` under /v1: how much credit is missing.'),
    index: z
      .int()
      .min(0)
      .optional()
      .describe('From /v1/bulk in mode `all`: which call was refused, counted from 0.'),
    stock: balance.optional().describe('With `stock_changed`: the current stock.'),
  })
  .describe('A failure (RFC 9457).');
export const Problem = schemaOf(problemBody);

export const PARAMETERS: Json = {
  'Idempotency-Key': {
    name: 'Idempotency-Key',
    in: 'header',
    description:
      'Makes a write safe to repeat. The first answer to an idempotency key is recorded together with its effect, and repeated for 24 hours. Refusals (404, 409) are recorded too: once the cause is gone, use a new one. The same one with a different body is refused with 422: every byte of the body counts. They are kept separately for users, for items, and for orders with bulk (path calls included): the same text used for a user and for an order is two of them.',
    schema: { type: 'string', minLength: 1, maxLength: 255, pattern: '^[\\x20-\\x7e]+$' },
  },
  'If-None-Match': {
    name: 'If-None-Match',
    in: 'header',
    description:
      'The ETag of an earlier answer, a list of them, or `*`. The answer is 304 if nothing has changed.',
    schema: { type: 'string' },
  },
};

export const HEADERS: Json = {
  ETag: { description: 'Identifies this content.', schema: { type: 'string' } },
  Location: { description: 'The path of what was created.', schema: { type: 'string' } },
  'X-Request-Id': {
    description: 'The id that the request sent, if it was valid; otherwise a new one.',
    schema: { type: 'string', pattern: '^[\\w=-]{1,128}$' },
  },
  'Idempotency-Replayed': {
    description:
      '`true` if this is the recorded answer of an earlier call with the same idempotency key.',
    schema: { const: 'true' },
  },
  'RateLimit-Policy': {
    description:
      'The limits of the caller, where authentication is on: `q` calls in `w` seconds, or at the same time. It is missing if there are none.',
    schema: { type: 'string' },
  },
  RateLimit: {
    description:
      'What is left of these limits: `r` calls now, and all of them again after `t` seconds without a call.',
    schema: { type: 'string' },
  },
  'Retry-After': {
    description: 'How many seconds to wait before sending the call again.',
    schema: { type: 'string', pattern: '^[0-9]+$' },
  },
};

export function schemaOf(type: z.ZodType, io: 'input' | 'output' = 'output'): Json {
  const { $schema, ...schema } = z.toJSONSchema(type, { io });
  return schema;
}
