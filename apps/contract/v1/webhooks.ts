/** The calls under /v1/webhooks: endpoints that events are sent to. */
import { z } from 'zod';
import { callsOf } from '../call.ts';
import { page, pageOf } from '../pages.ts';
import { id, present, time, whole } from '../values.ts';
import { EVENT_TYPES, sentEvent } from './events.ts';

const URL_RULE = 'must be an https URL of at most 2,000 characters, without a user or a fragment';
const url = z
  .string(present(URL_RULE))
  .regex(/^https?:\/\/[^\s@#\\\p{C}]{1,1990}$/iu, URL_RULE)
  .meta({
    description: 'Where events are sent, with POST. Redirects are not followed.',
    examples: ['https://shop.example/hooks'],
  });
const types = z
  .array(z.enum(EVENT_TYPES, { error: 'must be a type of event: see GET /v1/events' }), {
    error: 'must be a list of types of events',
  })
  .min(1, 'must name at least one type')
  .max(EVENT_TYPES.length, `must name at most ${EVENT_TYPES.length} types`)
  .describe('Only events of these types; without it, all of them.');
const DESCRIPTION = 'must be 1-200 characters, without control characters';
const description = z
  .string(DESCRIPTION)
  .regex(/^[^\p{C}]{1,200}$/u, DESCRIPTION)
  .describe('For people.');
const state = z.enum(['enabled', 'disabled'], { error: 'must be enabled or disabled' });

const webhook_id = id.meta({ description: 'The id of an endpoint.', examples: ['shipping'] });
const event_id = id.describe('The id of an event.');

const endpoint = z.strictObject({
  id: webhook_id,
  url,
  types: types.optional(),
  description: description.optional(),
  state: state.describe(
    'A disabled endpoint gets nothing. What happens meanwhile is delivered once it is enabled, if the events are still kept.',
  ),
  reason: z.string().optional().describe('Why Kassa has disabled it, if no call did.'),
  failing_since: time.optional().describe('Since when nothing could be delivered.'),
  waiting: z
    .int()
    .describe('Events that could not be delivered yet and are tried again, or wait behind those.'),
  dead: z.int().describe('Events that were given up: see the deliveries.'),
  created_at: time.describe('When it was created.'),
  cursor: z.string().describe('Behind the last event that was delivered or waits.'),
});

const secrets = z.strictObject({
  secret: z.string().describe('Signs what is sent. Keep it where the receiver finds it.'),
  previous: z
    .array(
      z.strictObject({
        secret: z.string().describe('It signs too.'),
        valid_until: time.describe('From then on it no longer signs.'),
      }),
    )
    .describe('Earlier secrets, which sign too until then.'),
});

const delivery = z.strictObject({
  event_id,
  type: z.string().describe('Of the event.'),
  state: z.enum(['waiting', 'dead']).describe('Whether it is tried again, or was given up.'),
  attempts: z.int().describe('Requests that were made.'),
  error: z.string().optional().describe('Why the last attempt failed.'),
  waiting_since: time.describe('Since when it waits; once it was tried, since the first attempt.'),
  tried_at: time.optional().describe('The last attempt.'),
  next_attempt_at: time
    .optional()
    .describe(
      'The next attempt, unless it waits behind another event, the receiver is away, or it is due now.',
    ),
  payload: sentEvent.describe('What is sent.'),
});

const CURSOR = 'must be the `cursor` of an event, oldest or latest';
/** For a cursor of the right form that is none. */
export const wrongCursor = { path: 'after', message: CURSOR };

const one = { params: { webhook_id }, refusals: ['webhook_not_found'] } as const;

export const webhookCalls = callsOf('webhooks', {
  put: {
    methods: ['PUT'],
    path: '/v1/webhooks/{webhook_id}',
    summary: 'Create an endpoint, or change it',
    description:
      'A new endpoint gets what happens from now on. Events of one order come in order. Each may come more than once, with the same `webhook-id`. After a failure an event is tried again for three days, at growing distances.',
    params: { webhook_id },
    body: z.strictObject({
      url,
      types: types.optional(),
      description: description.optional(),
      state: state
        .optional()
        .describe(
          'Whether events are sent. Without it, it stays as it is; a new endpoint is enabled.',
        ),
    }),
    examples: [
      {
        summary: 'An endpoint for paid orders',
        body: { url: 'https://shop.example/hooks', types: ['order.paid'] },
      },
    ],
    answer: endpoint,
    refusals: ['limit_exceeded'],
    writes: 'repeatable',
  },

  list: {
    methods: ['GET'],
    path: '/v1/webhooks',
    summary: 'List endpoints by id',
    params: {},
    query: z.strictObject(page),
    answer: pageOf(endpoint),
    refusals: [],
    writes: false,
  },

  get: {
    ...one,
    methods: ['GET'],
    path: '/v1/webhooks/{webhook_id}',
    summary: 'Read an endpoint',
    answer: endpoint,
    writes: false,
  },

  secret: {
    ...one,
    methods: ['GET'],
    path: '/v1/webhooks/{webhook_id}/secret',
    summary: 'Read the secret of an endpoint',
    answer: secrets,
    writes: false,
  },

  rotateSecret: {
    ...one,
    methods: ['POST'],
    path: '/v1/webhooks/{webhook_id}/secret',
    summary: 'Give an endpoint a new secret',
    description:
      'The secret before signs too for another 24 hours, so that receivers can change over. At most five are valid at once.',
    answer: secrets,
    refusals: ['webhook_not_found', 'limit_exceeded'],
    writes: 'repeatable',
  },

  deliveries: {
    ...one,
    methods: ['GET'],
    path: '/v1/webhooks/{webhook_id}/deliveries',
    summary: 'List events that could not be delivered',
    params: { webhook_id },
    query: z.strictObject({
      ...page,
      limit: whole(1, 100).default(20).describe('The maximum number of entries in a page.'),
      state: z
        .enum(['waiting', 'dead'], { error: 'must be waiting or dead' })
        .optional()
        .describe('Only those that are tried again, or were given up.'),
    }),
    answer: pageOf(delivery),
    writes: false,
  },

  redeliver: {
    ...one,
    methods: ['POST'],
    path: '/v1/webhooks/{webhook_id}/redeliver',
    summary: 'Send events that wait or were given up again, within seconds',
    body: z.strictObject({
      event_ids: z
        .array(event_id, { error: 'must be a list of ids of events' })
        .min(1, 'must name at least one event')
        .max(1000, 'must name at most 1,000 events')
        .optional()
        .describe('Only these; without it, all of the endpoint.'),
    }),
    examples: [{ summary: 'All of them', body: {} }],
    answer: z.strictObject({ events: z.int().describe('How many are sent again.') }),
    writes: 'repeatable',
  },

  replay: {
    ...one,
    methods: ['POST'],
    path: '/v1/webhooks/{webhook_id}/replay',
    summary: 'Send what has happened behind a cursor again',
    body: z.strictObject({
      after: z
        .string(present(CURSOR))
        .regex(/^[\w.-]{1,8000}$/, CURSOR)
        .meta({
          description:
            'The `cursor` of an event; `oldest` for all that is kept, `latest` to leave out what has not been sent.',
          examples: ['oldest'],
        }),
    }),
    examples: [{ summary: 'All events that are kept', body: { after: 'oldest' } }],
    answer: endpoint,
    refusals: ['webhook_not_found', 'cursor_expired'],
    writes: 'repeatable',
  },

  remove: {
    ...one,
    methods: ['DELETE'],
    path: '/v1/webhooks/{webhook_id}',
    summary: 'Remove an endpoint with what waits for it',
    answer: z.strictObject({ id: webhook_id }),
    writes: 'repeatable',
  },
});
