/** The parts of the OpenAPI document that calls share: problems, headers, schemas. */
import { z } from 'zod';
import { CODES } from './problems.ts';
import { balance, item_id } from './values.ts';

export type Json = { [name: string]: unknown };

/** The body of a failure. */
export const Problem = schemaOf(
  z
    .looseObject({
      type: z.string().describe('`urn:kassa:problem:` and the code.'),
      title: z.string().describe('A short summary of the code.'),
      status: z.int().min(400).max(599).describe('The HTTP status.'),
      detail: z.string().describe('What happened here, for people. Its text may change.'),
      code: z.enum(CODES).describe('For programs. It is stable.'),
      request_id: z
        .string()
        .describe(
          'Leads to the log line of the service. A problem inside the answer of a bulk has none.',
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
          'Of `invalid_body`, `invalid_parameter` at /v1, and a duplicate key: what is wrong, 20 entries at most.',
        ),
      items: z
        .array(
          z.strictObject({
            item_id,
            wanted: balance.describe('The quantity that was asked for.'),
            available: balance.optional().describe('Of `out_of_stock`: the quantity available.'),
            refundable: balance.optional().describe('Of `refund_exceeds`: what is left to refund.'),
          }),
        )
        .optional()
        .describe('Of `out_of_stock` and `refund_exceeds` at /v1: each item that falls short.'),
      shortfall: balance
        .optional()
        .describe('Of `insufficient_credit` at /v1: by how much the credit falls short.'),
      index: z
        .int()
        .min(0)
        .optional()
        .describe('Of /v1/bulk in mode `all`: which call was refused, counted from 0.'),
      stock: balance.optional().describe('Of `stock_changed`: the current stock.'),
    })
    .describe('A failure (RFC 9457).'),
);

export const PARAMETERS: Json = {
  'Idempotency-Key': {
    name: 'Idempotency-Key',
    in: 'header',
    description:
      'Makes a write safe to repeat. The first answer under a key is recorded together with its effect, and repeated for 24 hours. Refusals (404, 409) are recorded too: once their cause is gone, use a new key. The same key with another body is 422: every byte of the body counts. Users, items, and orders with bulk each have keys of their own, which path calls share: a key used for a user and then for an order is another key.',
    schema: { type: 'string', minLength: 1, maxLength: 255, pattern: '^[\\x20-\\x7e]+$' },
  },
  'If-None-Match': {
    name: 'If-None-Match',
    in: 'header',
    description:
      'The ETag of an earlier answer, several of them, or `*`: the answer is 304 if nothing has changed.',
    schema: { type: 'string' },
  },
};

export const HEADERS: Json = {
  ETag: { description: 'Identifies this content.', schema: { type: 'string' } },
  Location: { description: 'The path of what was created.', schema: { type: 'string' } },
  'X-Request-Id': {
    description: 'The id that the request had, if it was valid, or a new one.',
    schema: { type: 'string', pattern: '^[\\w=-]{1,128}$' },
  },
  'Idempotency-Replayed': {
    description: '`true` if this is the recorded answer of an earlier call with the same key.',
    schema: { const: 'true' },
  },
  'Retry-After': {
    description: 'The seconds to wait before the call is sent again.',
    schema: { type: 'string', pattern: '^[0-9]+$' },
  },
};

export function schemaOf(type: z.ZodType, io: 'input' | 'output' = 'output'): Json {
  const { $schema, ...schema } = z.toJSONSchema(type, { io });
  return schema;
}
