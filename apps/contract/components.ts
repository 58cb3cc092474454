/** The parts of the OpenAPI document that calls share: problems, headers, schemas. */
import { z } from 'zod';
import { CODES } from './problems.ts';
import { balance, id } from './values.ts';

export type Json = { [name: string]: unknown };

/** The body of a failure. */
export const Problem = schemaOf(
  z
    .looseObject({
      type: z.string().describe('`urn:kassa:problem:` and the code.'),
      title: z.string(),
      status: z.int().min(400).max(599),
      detail: z.string().describe('For people. It may change.'),
      code: z.enum(CODES).describe('For programs. It is stable.'),
      request_id: z.string(),
      errors: z
        .array(z.strictObject({ path: z.string(), message: z.string() }))
        .optional()
        .describe(
          'With `invalid_body`, a duplicate key, or wrong parameters of /v1: what is wrong, in 20 fields at most.',
        ),
      items: z
        .array(
          z.strictObject({
            item_id: id,
            wanted: balance,
            available: balance.optional().describe('Of `out_of_stock`.'),
            refundable: balance.optional().describe('Of `refund_exceeds`.'),
          }),
        )
        .optional()
        .describe(
          'Of `out_of_stock` and `refund_exceeds` at /v1: every item of which too much is wanted.',
        ),
      shortfall: balance.optional().describe('Of `insufficient_credit` at /v1: what is lacking.'),
      index: z
        .int()
        .min(0)
        .optional()
        .describe('Of /v1/bulk: the index of the refused call, from 0.'),
      stock: balance.optional().describe('Of `stock_changed`: the stock as it is.'),
    })
    .describe('A failure (RFC 9457).'),
);

export const PARAMETERS: Json = {
  'Idempotency-Key': {
    name: 'Idempotency-Key',
    in: 'header',
    description:
      'The first answer to a key is recorded with its effect, and repeated for 24 hours. Refusals (404, 409) are recorded too: once the cause is gone, use a new key. Another body under the same key is 422. Each service has its own keys: users, items, and orders with bulk.',
    schema: { type: 'string', minLength: 1, maxLength: 255, pattern: '^[\\x20-\\x7e]+$' },
  },
  'If-None-Match': {
    name: 'If-None-Match',
    in: 'header',
    description: 'The ETag of an earlier answer, several of them, or `*`.',
    schema: { type: 'string' },
  },
};

export const HEADERS: Json = {
  ETag: { description: 'It identifies the content of the answer.', schema: { type: 'string' } },
  Location: { description: 'The path of what was created.', schema: { type: 'string' } },
  'X-Request-Id': {
    description: "The request's own id if it has a valid one, or a new one.",
    schema: { type: 'string', pattern: '^[\\w=-]{1,128}$' },
  },
  'Idempotency-Replayed': {
    description: '`true` if an earlier call with this key was answered this.',
    schema: { const: 'true' },
  },
  'Retry-After': {
    description: 'Seconds after which the call may succeed.',
    schema: { type: 'string', pattern: '^[0-9]+$' },
  },
};

export function schemaOf(type: z.ZodType, io: 'input' | 'output' = 'output'): Json {
  const { $schema, ...schema } = z.toJSONSchema(type, { io });
  return schema;
}
