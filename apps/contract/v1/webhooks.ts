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
    description:
      'The URL that events are sent to, with POST. Redirects are not followed. Local addresses, and http, work only in networks that the operator allows (`WEBHOOK_NETWORKS`; `bun run dev` allows this machine).',
    examples: ['https://shop.example/hooks'],
  });
const types = z
  .array(z.enum(EVENT_TYPES, { error: 'must be a type of event: see GET /v1/events' }), {
    error: 'must be a list of types of events',
  })
  .min(1, 'must name at least one type')
  .max(EVENT_TYPES.length, `must name at most ${EVENT_TYPES.length} types`)
  .describe(
    'Send only events of these types (see "Types of events" on /docs). Without it, all events are sent.',
  );
const DESCRIPTION = 'must be 1-200 characters, without control characters';
const description = z
  .string(DESCRIPTION)
  .regex(/^[^\p{C}]{1,200}$/u, DESCRIPTION)
  .describe('A note for people.');
const count = z.int().min(0);
const state = z.enum(['enabled', 'disabled'], { error: 'must be enabled or disabled' });

const webhook_id = id.meta({ description: 'The id of an endpoint.', examples: ['shipping'] });
const event_id = id.describe('The id of an event.');

const endpoint = z.strictObject({
  id: webhook_id,
  url,
  types: types.optional(),
  description: description.optional(),
  state: state.describe(
    'A disabled endpoint gets nothing. Events from that time are delivered once it is enabled, if they are still kept.',
  ),
  reason: z.string().optional().describe('Why Kassa disabled it. Missing if a call did.'),
  failing_since: time
    .optional()
    .describe('When deliveries began to fail, if none has succeeded since.'),
  waiting: count.describe(
    'How many events could not be delivered yet: they will be tried again, or wait behind one that will.',
  ),
  dead: count.describe('How many events Kassa has given up on: see the deliveries.'),
  created_at: time.describe('When it was created.'),
  cursor: z
    .string()
    .describe('The place in the log up to which events have been delivered or are waiting.'),
});

const secrets = z.strictObject({
  secret: z.string().describe('The key that signs deliveries. Give it to the receiver.'),
  previous: z
    .array(
      z.strictObject({
        secret: z.string().describe('An earlier secret.'),
        valid_until: time.describe('Until when it still signs.'),
      }),
    )
    .describe('Earlier secrets that still sign deliveries too.'),
});

const delivery = z.strictObject({
  event_id,
  type: z.string().describe('The type of the event.'),
  state: z
    .enum(['waiting', 'dead'])
    .describe('`waiting`: it will be tried again. `dead`: Kassa has given up on it.'),
  attempts: count.describe('How many requests have been made.'),
  error: z.string().optional().describe('Why the last attempt failed.'),
  waiting_since: time.describe('When it began to wait, or when it was first tried.'),
  tried_at: time.optional().describe('When it was last tried.'),
  next_attempt_at: time
    .optional()
    .describe(
      'When it will be tried next. Missing if it is due now, waits behind another event, or the receiver is away.',
    ),
  payload: sentEvent.describe('The body that is sent.'),
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
      'A new endpoint gets what happens from now on. Events of one order arrive in order. An event may arrive more than once, with the same `webhook-id`. After a failure it is tried again for three days, at growing intervals. To verify a delivery, see "Verify a webhook" on /docs.',
    params: { webhook_id },
    body: z.strictObject({
      url,
      types: types.optional(),
      description: description.optional(),
      state: state
        .optional()
        .describe(
          'Whether events are sent. Without it, nothing changes; a new endpoint is enabled.',
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
    scope: 'events:write',
  },

  rotateSecret: {
    ...one,
    methods: ['POST'],
    path: '/v1/webhooks/{webhook_id}/secret',
    summary: 'Give an endpoint a new secret',
    description:
      'The previous secret stays valid for another 24 hours, so that receivers can switch. At most five are valid at once.',
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
      limit: whole(1, 100).default(20).describe('The maximum number of entries on a page.'),
      state: z
        .enum(['waiting', 'dead'], { error: 'must be waiting or dead' })
        .optional()
        .describe('Only deliveries in this state.'),
    }),
    answer: pageOf(delivery),
    writes: false,
  },

  redeliver: {
    ...one,
    methods: ['POST'],
    path: '/v1/webhooks/{webhook_id}/redeliver',
    summary: 'Retry events that are waiting or dead, within seconds',
    body: z.strictObject({
      event_ids: z
        .array(event_id, { error: 'must be a list of ids of events' })
        .min(1, 'must name at least one event')
        .max(1000, 'must name at most 1,000 events')
        .optional()
        .describe('Only these events. Without it, all events of the endpoint.'),
    }),
    examples: [{ summary: 'All of them', body: {} }],
    answer: z.strictObject({ events: count.describe('How many will be sent again.') }),
    writes: 'repeatable',
  },

  replay: {
    ...one,
    methods: ['POST'],
    path: '/v1/webhooks/{webhook_id}/replay',
    summary: 'Send all events after a cursor again',
    body: z.strictObject({
      after: z
        .string(present(CURSOR))
        .regex(/^[\w.-]{1,8000}$/, CURSOR)
        .meta({
          description:
            'The `cursor` of an event, `oldest` for all events that are kept, or `latest` to skip whatever has not been sent.',
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
    summary: 'Remove an endpoint and everything that waits for it',
    answer: z.strictObject({ id: webhook_id }),
    writes: 'repeatable',
  },
});
