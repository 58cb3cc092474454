/**
 * A receiver of webhooks that fails now and then: at the end it must have every event, each as the
 * readers of the events have it, none that they lack, and those of an order in their order.
 */
import type { KassaEvent } from '../../../apps/client/client.ts';
import { headersFor } from '../../support/key.ts';
import { openReceiver } from '../../support/receiver.ts';
import type { Teardown } from '../../support/teardown.ts';
import type { Deployment } from './deployment.ts';
import type { Random } from './send.ts';
import type { Violation } from './verify.ts';

const PATH = '/v1/webhooks/chaos';
/** What the receiver answers, instead of 200, to so many of a thousand requests. */
const FAILURES: [of_1000: number, fail: () => Response | Promise<Response>][] = [
  [10, () => new Response(null, { status: 500 })],
  [3, () => new Response(null, { status: 429, headers: { 'retry-after': '1' } })],
  [3, () => Bun.sleep(1500).then(() => new Response())],
];
/** Then, after the load: leases of dead workers end, and all retries are due. */
const PATIENCE_MS = 300_000;

export type Hooks = Awaited<ReturnType<typeof openHooks>>;

/** @param deployment the address of its service of webhooks, and the key that it wants */
export async function openHooks(
  { webhooks, key }: Pick<Deployment, 'webhooks' | 'key'>,
  random: Random,
  teardown: Teardown,
) {
  const receiver = openReceiver(() => {
    let left = random() * 1000;
    for (const [of_1000, fail] of FAILURES) {
      left -= of_1000;
      if (left < 0) return fail();
    }
    return 200;
  });
  teardown.add(() => receiver.close());
  const call = async (method: string, path: string, body?: object) => {
    const headers = { ...headersFor(key), ...(body && JSON_TYPE) };
    const init = { method, headers, ...(body && { body: JSON.stringify(body) }) };
    const answer = await fetch(webhooks + path, init);
    if (!answer.ok) throw new Error(`${method} ${path}: ${await answer.text()}`);
    return (await answer.json()) as { waiting: number; dead: number; state: string };
  };
  await call('PUT', PATH, { url: receiver.url });
  await call('POST', `${PATH}/replay`, { after: 'oldest' });
  return { receiver, endpoint: () => call('GET', PATH) };
}

const JSON_TYPE = { 'content-type': 'application/json' };

/** @param events all of them, in the order of the log */
export async function checkHooks(
  { receiver, endpoint }: Hooks,
  events: readonly KassaEvent[],
): Promise<{ violations: Violation[]; requests: number }> {
  const where = 'the receiver of webhooks';
  const ends_at = performance.now() + PATIENCE_MS;
  const lacks = () => {
    const accepted = new Set(receiver.accepted().map(({ id }) => id));
    return events.filter(({ id }) => !accepted.has(id));
  };
  while (lacks().length > 0 && performance.now() < ends_at) await Bun.sleep(500);
  const violations: Violation[] = [];
  const missing = lacks();
  if (missing.length > 0) {
    const what = `lacks ${missing.length} events, such as ${missing[0]?.id}: ${JSON.stringify(await endpoint())}`;
    violations.push({ where, what });
  }
  const places = new Map(events.map((event, i) => [event.id, { event, i }]));
  const last = new Map<string, number>();
  for (const { id, key, event } of receiver.accepted()) {
    const known = places.get(id);
    if (!known || !Bun.deepEquals(known.event.data, event.data)) {
      violations.push({ where, what: `has got ${id}, which did not happen` });
      continue;
    }
    const [field = ''] = ['order_id', 'user_id'].filter((name) => name in event.data);
    const subject = `${field || 'item_id'} ${key}`; // a user and an item may have the same id
    const before = last.get(subject) ?? -1;
    if (known.i < before) violations.push({ where, what: `got ${id} of ${subject} too late` });
    last.set(subject, Math.max(before, known.i));
  }
  return { violations, requests: receiver.taken.length };
}
