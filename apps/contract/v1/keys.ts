/** The calls under /v1/keys: API keys, which callers send where authentication is on. */
import { z } from 'zod';
import { callsOf } from '../call.ts';
import { page, pageOf } from '../pages.ts';
import { NOT_FOR_USERS, SCOPES } from '../scopes.ts';
import { id, newId, present, time, user_id, wholeNumber } from '../values.ts';

const YEAR_S = 365 * 24 * 3600;
const PER_S_MAX = 1_000_000;
const IN_FLIGHT_MAX = 100_000;

const NAME = 'must be 1-200 characters, without control characters';
const name = z
  .string(NAME)
  .regex(/^[^\p{C}]{1,200}$/u, NAME)
  .describe('A description.');
const scope = z.enum(SCOPES, { error: `must be one of ${SCOPES.join(', ')}` });
const scopes = z
  .array(scope, present('must be a list of scopes'))
  .min(1, 'must name at least one scope')
  .max(SCOPES.length, `must name at most ${SCOPES.length} scopes`)
  .describe('What its holder may do. `admin` may do everything.');
const OWNER = 'The only user whose wallet and orders it may see and change.';
const owner = user_id.describe(
  `${OWNER} Such a key cannot have the scopes ${NOT_FOR_USERS.join(', ')}.`,
);
const per_s = wholeNumber(1, PER_S_MAX).describe(
  'The most calls in a second, in each process. Without it: no limit.',
);
const in_flight = wholeNumber(1, IN_FLIGHT_MAX).describe(
  'The most calls at the same time, in each process. Without it: AUTH_IN_FLIGHT of the service, 2,000 by default.',
);

const principal = id.meta({ examples: ['shop'] });
const key_id = id.meta({
  description: 'The id of a key. It is no secret: records and logs name it.',
  examples: ['shop'],
});

const key = z.strictObject({
  id: key_id,
  principal: principal.describe(
    'Who calls with it: events, movements and logs name it, with `key:` before it.',
  ),
  name: name.optional(),
  scopes: z.array(z.string()).describe('What its holder may do.'),
  user_id: user_id.describe(OWNER).optional(),
  per_s: per_s.optional(),
  in_flight: in_flight.optional(),
  state: z
    .enum(['live', 'expired', 'revoked'])
    .describe('Only a live key is taken. An expired or revoked one never becomes live again.'),
  created_at: time.describe('When it was created.'),
  expires_at: time.optional().describe('When it expires.'),
  revoked_at: time.optional().describe('When it was revoked.'),
  last_used_at: time
    .optional()
    .describe('When it was last used, to a minute or so. Uses of the console are not counted.'),
});

/** What somebody wants of a new key. Command lines are checked by it too. */
export const wantedKey = z
  .strictObject({
    id: newId,
    principal: principal
      .optional()
      .describe(
        'Who calls with it; the id if left out. A key that replaces another one has the same: then idempotency keys stay those of the caller.',
      ),
    name: name.optional(),
    scopes,
    user_id: owner.optional(),
    per_s: per_s.optional(),
    in_flight: in_flight.optional(),
    ttl_s: wholeNumber(1, 10 * YEAR_S)
      .optional()
      .describe('Seconds until it expires. Without it, the key never expires.'),
  })
  .superRefine((wanted, context) => {
    if (wanted.id?.startsWith('kassa_')) {
      const message = 'must not begin with kassa_, as secrets do';
      context.addIssue({ code: 'custom', path: ['id'], message });
    }
    for (const [i, one] of wanted.scopes.entries()) {
      if (wanted.user_id === undefined || !NOT_FOR_USERS.includes(one)) continue;
      const message = `${one} is not allowed for a key with a user_id`;
      context.addIssue({ code: 'custom', path: ['scopes', i], message });
    }
  });

export const keyCalls = callsOf('keys', {
  create: {
    methods: ['POST'],
    path: '/v1/keys',
    summary: 'Create a key',
    description:
      'Only this answer has the secret: Kassa keeps its hash. If you lose the answer, revoke the key and create another. An id is never used again.',
    params: {},
    body: wantedKey,
    examples: [
      {
        summary: 'A key for a shop, for 90 days',
        body: { name: 'the shop', scopes: ['orders:write', 'stock:read'], ttl_s: 7_776_000 },
      },
    ],
    status: 201,
    answer: key.extend({
      secret: z.string().describe('The key itself. Send it after `Authorization: Bearer`.'),
    }),
    refusals: ['already_exists', 'limit_exceeded'],
    writes: 'repeatable',
  },

  get: {
    methods: ['GET'],
    path: '/v1/keys/{key_id}',
    summary: 'Read a key',
    params: { key_id },
    answer: key,
    refusals: ['key_not_found'],
    writes: false,
  },

  list: {
    methods: ['GET'],
    path: '/v1/keys',
    summary: 'List keys by id',
    params: {},
    query: z.strictObject(page),
    answer: pageOf(key),
    refusals: [],
    writes: false,
  },

  revoke: {
    methods: ['DELETE'],
    path: '/v1/keys/{key_id}',
    summary: 'Revoke a key',
    description:
      'From then on it is refused, by every process within 5 seconds; while the store is out of reach, within 30. It stays in the list.',
    params: { key_id },
    answer: key,
    refusals: ['key_not_found'],
    writes: 'repeatable',
  },
});
