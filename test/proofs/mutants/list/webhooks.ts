/** Mutants of webhooks: the worker, its leases, and where it sends. */
import { killedBy } from '../mutant.ts';

export const webhookMutants = [
  ...killedBy(['webhook-deliveries'], {
    'events of an order overtake one that waits':
      'courier.ts: const free = page.fresh[-.filter(({ key }) => !blocked.has(key))-];',
    'after a failure the next event of the order is sent':
      "sendings.ts: if (sent !== 'delivered') [-break-]{+continue+};",
    'the events of an order have no order':
      'plan.ts: if (order_id !== undefined) return [-`order ${order_id}`-]{+`order ${Math.random()}`+};',
    'the log is not read while the receiver is away':
      'courier.ts: if (full || probes === false[-)-]{+ || probes)+} {',
    'during an outage everything is sent':
      'courier.ts: probes && first !== -1 ? events.slice(0, [-first + 1-]{+events.length+}) : events;',
    'a round waits for its slowest request': 'sendings.ts: const SLOW_MS = [-500-]{+60_000+};',
    'a request that is under way is sent again':
      'courier.ts: const idle = this.#waiting.filter(({ key }) => [-!late_keys.has(key)-]{+true+});',
    '410 is a failure like others': "send.ts: if (status === [-410-]{+411+}) return 'gone';",
    'types are ignored': 'courier.ts: types === undefined || [-types.has(type)-]{+true+};',
    'the events behind a cursor that has expired are skipped':
      "worker.ts: error instanceof Failure && error.code === [-'cursor_expired'-]{+'internal'+};",
  }),
  ...killedBy(['webhook-leases'], {
    'a worker writes over a change of the endpoint':
      'rounds.ts: where id = ${webhook_id} and lease_id = ${id}[- and version = ${version}::int8-]\n          and round',
    'a late copy of a round is written':
      'rounds.ts: [-and round in (${number - 1}::int8, ${number}::int8) -]and state',
    'a worker that has lost its lease writes':
      'rounds.ts: where id = ${webhook_id}[- and lease_id = ${id}-] and version = ${version}::int8\n          and round',
    'what is sent again is put back by a worker that writes at the same time':
      'rounds.ts: sql`[-update webhooks set round = round-]{+select id from webhooks+}\n      where id = ${webhook_id} and lease_id = ${id} and version = ${version}::int8\n        and round = ${round}::int8[-\n      returning id-]`;',
    'what is sent again is put back by a late copy':
      'rounds.ts: sql`update webhooks set round = round\n      where id = ${webhook_id} and lease_id = ${id}[- and version = ${version}::int8-]\n',
    'a worker renews the lease of what has changed':
      'leases.ts: where w.id = k.webhook_id and w.lease_id = k.lease_id[- and w.version = k.version-]',
    'a worker gives back the lease of another':
      'leases.ts: where id = ${webhook_id}[- and lease_id = ${id}-]`,',
    'a lease can be taken at any time':
      'leases.ts: and (lease_id is null or lease_id = ${id} or lease_until [-<-]{+<>+} now())',
    'an endpoint that is still sent to is made anew':
      "endpoints.ts: delete from webhooks where id = ${id} and state = 'deleted'\n      [-and (lease_until is null or lease_until < now())-]",
    'a new endpoint of a name has the version of the old one':
      "endpoints.ts: version = case when webhooks.state = 'deleted' then [-excluded.version-]{+webhooks.version+}",
    'a PUT that changes nothing disturbs the worker':
      'endpoints.ts: then webhooks.version[- else webhooks.version + 1-]{+ + 1 else webhooks.version + 1+} end,',
    'the removal of an endpoint takes the secrets of the next one':
      "endpoints.ts: delete from webhook_secrets where webhook_id = ${id}\n      [-and exists (select 1 from webhooks where id = ${id} and state = 'deleted')-]",
    'a PUT that was carried out is refused':
      "endpoints.ts: return (await find(pool, id)) ?? [-made-]{+Promise.reject(new Failure('contention', ''))+};",
    'a PUT revives what is being removed':
      "endpoints.ts: [-where webhooks.state <> 'deleted'\n           or (not exists (select 1 from webhook_secrets where webhook_id = ${id})\n               and not exists (select 1 from webhook_deliveries where webhook_id = ${id}))-]",
  }),
  ...killedBy(['webhook-plan'], {
    'an event of its own fault makes an outage':
      'sendings.ts: if ([-!sent.refused-]{+true+}) this.failing_keys.add(one.key);',
    'one event that fails makes an outage':
      'sendings.ts: this.failing_keys.add([-one.key-]{+`${Math.random()}`+});',
    'after an outage what waits is not due': 'round.ts: ...([-recovered-]{+false+} ? others',
    'what was delivered waits on':
      'round.ts: delivered: delivered.filter(({ stored }) => [-stored || has_dead-]{+false+}).map(',
    'an event that failed is forgotten':
      'round.ts: added: left.filter(({ stored }) => [-!stored-]{+false+}),',
    'Retry-After is ignored': 'plan.ts: Math.max([-retry_after_s-]{+0+}, Math.ceil(',
    'pauses do not grow': 'plan.ts: Math.max(PAUSE_MIN_S, [-age_s-]{+0+})',
    'a dead event is tried on': 'plan.ts: dead_s: gives_up ? [-now_s-]{+null+} : null,',
    'what waits behind another is due by itself':
      'plan.ts: byKey(waiting).filter(([[-first-]{+_, first+}]) =>',
    'the same event is probed again and again':
      'plan.ts: (a.tried_s ?? 0) [---]{+*+} (b.tried_s ?? 0)',
    'what failed often takes all requests after an outage':
      'plan.ts: one.attempts > ATTEMPTS_FEW ? [-Math.ceil(random * SPREAD_S)-]{+0+} : 0;',
  }),
  ...killedBy(['webhook-targets', 'webhooks'], {
    'names may lead anywhere':
      'target.ts: if (why) return done([-new NotPublic(why), []-]{+null, addresses+});',
    'addresses in URLs are not checked':
      'target.ts: if (ipaddr.isValid(host)) return [-refusalOfAddress(host, url.protocol, networks)-]{+undefined+};',
    'all IPv6 is public but what has a name':
      "target.ts: address.range() === 'unicast' && [-!address.match(PUBLIC_IPV6)-]{+false+}",
    'http is allowed everywhere':
      "target.ts: return protocol === 'https:' ? undefined : [-'must be https'-]{+undefined+};",
    'any authority is trusted':
      "send.ts: const options = { method: 'POST',[--]{+ rejectUnauthorized: false,+} agent",
    'a certificate may be for any name':
      "send.ts: const options = { method: 'POST',[--]{+ checkServerIdentity: () => undefined,+} agent",
    'a request has no end': 'send.ts: const timer = setTimeout(late, [-SEND_MS-]{+600_000+});',
    'a lost lease does not end requests': "send.ts: [-signal.addEventListener('abort', stop);-]",
    'an answer 101 is no answer':
      "send.ts: resolve({ error: [-'the receiver answered 101'-]{+''+} });",
    'an expired secret signs':
      'send.ts: signers.filter(({ until_ms }) => [-until_ms > now.getTime()-]{+true+});',
  }),
  ...killedBy(['webhook-workers'], {
    'a lease is not renewed':
      'hold.ts: let timer = setTimeout(renew, [-RENEW_EVERY_MS-]{+600_000+});',
  }),
];
