/** The paths under /v1/webhooks: endpoints that events are sent to. */
import { randomBytes } from 'node:crypto';
import { Hono } from 'hono';
import { Failure } from '../../db/failure.ts';
import { formatCursor, parseCursor } from '../../db/reads/cursor.ts';
import { pageOf } from '../../db/reads/page.ts';
import type { Store } from '../../db/store.ts';
import { webhookCalls as calls, wrongCursor } from '../contract/v1/webhooks.ts';
import { invalidBody } from '../http/bodies.ts';
import type { Env } from '../http/exchange.ts';
import { answerPage, BY_ID } from '../http/lists.ts';
import { networksIn } from '../http/networks.ts';
import { on } from '../http/route.ts';
import { deliveryOf, endpointOf, secretsOf } from './show.ts';
import { refusalOf } from './target.ts';

const SECRET_BYTES = 32;

type Backend = Pick<Store, 'webhooks' | 'events'>;

export function webhookRoutes(store: Backend, options: { webhook_networks: string }): Hono<Env> {
  const app = new Hono<Env>();
  const { endpoints } = store.webhooks;
  const networks = networksIn(options.webhook_networks);

  on(app, calls.put, async (c, { webhook_id }, { url, types, description, state }) => {
    const why = refusalOf(url, networks);
    if (why) throw invalidBody([{ path: 'url', message: why }]);
    const wanted = {
      url,
      types: types ? [...new Set(types)].sort().join() : null,
      description: description ?? null,
      state: state ?? null,
    };
    const cursor = formatCursor(await store.events.latest());
    const made = await endpoints.put(webhook_id, wanted, { secret: newSecret(), cursor });
    return c.json(endpointOf(made));
  });

  on(app, calls.list, (c, _, page) =>
    answerPage(
      c,
      page,
      { list: 'webhooks', start: BY_ID },
      async ({ limit, after: [id] }) =>
        pageOf(await endpoints.list(limit + 1, id), limit, (row) => [row.id] as const),
      endpointOf,
    ),
  );

  on(app, calls.get, async (c, { webhook_id }) =>
    c.json(endpointOf(await find(store, webhook_id))),
  );

  on(app, calls.remove, async (c, { webhook_id }) => {
    if (!(await endpoints.remove(webhook_id))) throw notFound(webhook_id);
    return c.json({ id: webhook_id });
  });

  on(app, calls.secret, async (c, { webhook_id }) => c.json(await validSecrets(webhook_id)));

  on(app, calls.rotateSecret, async (c, { webhook_id }) => {
    if (!(await endpoints.addSecret(webhook_id, newSecret()))) throw notFound(webhook_id);
    return c.json(await validSecrets(webhook_id));
  });

  deliveryRoutes(app, store);
  return app;

  async function validSecrets(webhook_id: string) {
    const valid = await endpoints.secrets(webhook_id);
    if (valid.length === 0) throw notFound(webhook_id);
    return secretsOf(valid);
  }
}

function deliveryRoutes(app: Hono<Env>, store: Backend): void {
  const { endpoints, deliveries } = store.webhooks;

  on(app, calls.deliveries, async (c, { webhook_id }, { state, ...page }) => {
    await find(store, webhook_id);
    const dead = state && state === 'dead';
    return answerPage(
      c,
      page,
      { list: `deliveries of ${webhook_id}`, start: BY_ID },
      async ({ limit, after: [id] }) => {
        const rows = await deliveries.list(webhook_id, limit + 1, id, dead);
        return pageOf(rows, limit, ({ event_id }) => [event_id] as const);
      },
      deliveryOf,
    );
  });

  on(app, calls.redeliver, async (c, { webhook_id }, { event_ids }) => {
    await find(store, webhook_id);
    return c.json({ events: await deliveries.redeliver(webhook_id, event_ids) });
  });

  on(app, calls.replay, async (c, { webhook_id }, { after }) => {
    await find(store, webhook_id);
    const cursor = formatCursor(await cursorIn(store.events, after));
    if (!(await endpoints.move(webhook_id, cursor))) throw notFound(webhook_id);
    return c.json(endpointOf(await find(store, webhook_id)));
  });
}

async function find({ webhooks }: Backend, webhook_id: string) {
  const endpoint = await webhooks.endpoints.find(webhook_id);
  if (!endpoint) throw notFound(webhook_id);
  return endpoint;
}

const notFound = (webhook_id: string) =>
  new Failure('webhook_not_found', `no endpoint ${webhook_id}`);

/** As the Standard Webhooks have it. */
const newSecret = (): string => `whsec_${randomBytes(SECRET_BYTES).toString('base64')}`;

/** @throws Failure invalid_body, cursor_expired */
async function cursorIn(events: Store['events'], after: string) {
  if (after === 'oldest') return events.oldest();
  if (after === 'latest') return events.latest();
  const cursor = parseCursor(after);
  if (!cursor) throw invalidBody([wrongCursor]);
  await events.read(cursor, { limit: 1, matches: () => true, wait_ms: 0 });
  return cursor;
}
