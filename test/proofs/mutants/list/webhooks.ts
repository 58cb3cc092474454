/** Mutants of webhooks: the worker, its leases, and where it sends. */
import { killedBy } from '../mutant.ts';

export const webhookMutants = [
  ...killedBy(['webhook-deliveries'], {
    'events of an order overtake one that failed':
      'courier.ts: const free = (one: Sending) => one.stored || [-(!stored.has(one.key) && !blocked.has(one.key))-]{+true+};',
    'after a failure the next event of the order is sent':
      "courier.ts: if (sent !== 'delivered') [-break-]{+continue+};",
    'an event that failed is forgotten':
      'round.ts: kept: left[-.filter(({ stored }) => !stored)-]{+.filter(() => false)+},',
    'what was delivered waits on':
      'round.ts: delivered: delivered.filter(({ stored }) => [-stored-]{+false+}).map(',
    'the events of an endpoint have no key':
      'plan.ts: if (order_id !== undefined) return [-`order ${order_id}`-]{+`order ${Math.random()}`+};',
    'an outage never ends once nothing waits':
      'courier.ts: this.#failing_since_s !== null[- && this.#waiting.length > 0-];',
    'during an outage everything is sent':
      'courier.ts: : probe([-this.#waiting, since_s, now_s, this.#not_before_s-]{+this.#waiting, since_s, Infinity+});',
    'after an outage what waits is not due': 'round.ts: ...([-recovered-]{+false+} ? others',
    '410 is a failure like others': "send.ts: if (status === [-410-]{+411+}) return 'gone';",
    'a dead event is tried on': 'plan.ts: dead_s: age_s >= GIVE_UP_S ? [-now_s-]{+null+} : null,',
    'types are ignored': 'courier.ts: types === undefined || [-types.has(type)-]{+true+};',
    'the cursor moves before the events are delivered':
      'courier.ts: if (this.#hold.over || (this.#ends && outcomes.size === 0)) return;[--]{+outcomes.clear();+}',
    'only the newest secret signs':
      'send.ts: .filter(({ until_ms }) => until_ms [->-]{+===+} [-at.getTime()-]{+Infinity+})',
  }),
  ...killedBy(['webhook-leases'], {
    'a worker writes over a change of the endpoint':
      "leases.ts: and lease_worker = ${worker}[- and version = ${version}::int8-]\n          and state <> 'deleted'",
    'a worker renews the lease of what has changed':
      "leases.ts: and lease_worker = ${worker}[- and version = ${version}::int8-]\n            and state = 'enabled'",
    'a worker that has lost its lease writes':
      "leases.ts: [-and lease_worker = ${worker} -]and version = ${version}::int8\n          and state <> 'deleted'",
    'a worker gives back the lease of another':
      'leases.ts: where id = ${webhook_id}[- and lease_worker = ${worker}-]`,',
    'a new endpoint of a name has the version of the old one':
      'endpoints.ts: [-(extract(epoch from now()) * 1000000)::int8-]{+1+}, extract(epoch from now())::int8)',
    'what a removal has left behind stays':
      'endpoints.ts: [-await removeDeleted(pool, id);-]\n      await assertRoom(pool, id);',
  }),
  ...killedBy(['webhook-plan'], {
    'Retry-After is ignored': 'plan.ts: Math.max([-retry_after_s-]{+0+}, Math.ceil(',
    'pauses do not grow': 'plan.ts: Math.max(PAUSE_MIN_S, [-age_s-]{+0+})',
    'what waits behind another is due by itself':
      'plan.ts: byKey(waiting).filter(([[-first-]{+_, first+}]) =>',
    'the same event is probed again and again':
      'plan.ts: (a.tried_s ?? 0) [---]{+*+} (b.tried_s ?? 0)',
  }),
  ...killedBy(['webhook-targets', 'webhooks', 'webhook-deliveries'], {
    'names may lead anywhere':
      'target.ts: if (why) return done([-new Error(`the host ${why}`), []-]{+null, addresses+});',
    'addresses in URLs are not checked':
      'target.ts: if (ipaddr.isValid(host)) return [-refusalOfAddress(host, url.protocol, networks)-]{+undefined+};',
    'http is allowed everywhere':
      "target.ts: return protocol === 'https:' ? undefined : [-'must be https'-]{+undefined+};",
    'the answer is read to its end':
      'send.ts: if (bytes > REST_MAX_BYTES) [-answer.destroy()-]{+return+};',
    'a request has no end': 'send.ts: const timer = setTimeout(end, [-SEND_MS-]{+600_000+});',
    'a lost lease does not end requests': "send.ts: [-signal.addEventListener('abort', end);-]",
  }),
  ...killedBy(['webhook-workers'], {
    'a lease is not renewed':
      'hold.ts: let renewal = setTimeout(renew, [-RENEW_EVERY_MS-]{+600_000+});',
    'a lease can be taken at any time':
      'leases.ts: and (lease_worker is null or lease_worker = ${worker} or lease_until [-<-]{+<> +} now())\n          returning',
  }),
];
