/** Everything but the charts: what needs attention, the big figures, and the tables. */
export const FIGURES = String.raw`
// The limits are those of deploy/alerts.yml.
const SLOW_MS = 1000, WAITED_S = 3600, LAG_S = 60, SOON_S = 60, LINGER_MS = 5000;
const UNREAD = {
  log: 'The log cannot be read', items: 'Items cannot be read', holds: 'Holds cannot be read',
  webhooks: 'Webhooks cannot be read', audit: 'The audit cannot be run', processes: 'The processes cannot be listed',
};
const STATES = {
  40001: 'Conflicts with other transactions', '40P01': 'Deadlocks', '55P03': 'Rows that others hold',
  '57014': 'Statements that took too long', '57P01': 'The store shut a connection', '08006': 'Connections broke',
};

function concernsOf({ trouble, audit, processes, requests, latency_ms, queue, purchases, in_doubt, webhooks }) {
  const found = [];
  const add = (is, level, key, text, href) => is && found.push({ key, level, text, href });
  for (const what of trouble) {
    const name = what.replace(/^process /, '');
    if (name !== what) add(true, 'bad', what, 'Process ' + name + ' does not answer', '#processes');
    else add(true, 'warn', what, (UNREAD[what] ?? what + ': no answer') + ', so some figures may be old', '#machine');
  }
  const named = trouble.some((what) => what.startsWith('process '));
  for (const { service, up } of processes) add(!up && !named, 'bad', 'down ' + service, service + ' is down', '#processes');
  const violated = audit.violated?.length;
  add(violated, 'bad', 'violated', 'The audit found ' + some(violated, 'violated invariant', 'violated invariants'), '#audit');
  add(audit.state === 'failed', 'warn', 'audit', 'The audit could not be run', '#verdict');
  add(requests.failed > 0, 'bad', 'failed', rate(requests.failed) + ' requests a second fail with 5xx', '#refused');
  add(purchases.refused.overloaded > 0, 'bad', 'overloaded', rate(purchases.refused.overloaded) + ' calls a second are refused, because there is too much to do', '#refused');
  add(latency_ms?.p99 > SLOW_MS, 'warn', 'slow', 'p99 is above 1 s', '#took');
  add(queue.oldest_ms > SLOW_MS, 'warn', 'behind', 'The oldest command has waited ' + time(queue.oldest_ms), '#waits');
  add(in_doubt > 0, 'warn', 'in doubt', rate(in_doubt) + ' commits a second are in doubt', '#retried');
  const { failing = 0, dead = 0, disabled = 0, waiting_s = 0, lag_s = 0 } = webhooks ?? {};
  add(failing, 'warn', 'failing', some(failing, 'webhook is failing', 'webhooks are failing'), '#webhooks');
  add(dead, 'warn', 'dead', some(dead, 'event was given up', 'events were given up'), '#webhooks');
  add(disabled, 'warn', 'disabled', some(disabled, 'webhook is disabled', 'webhooks are disabled'), '#webhooks');
  add(waiting_s > WAITED_S, 'warn', 'waiting', 'An event has waited ' + span(waiting_s) + ' for its receiver', '#webhooks');
  add(lag_s > LAG_S, 'warn', 'lag', 'Webhooks lag ' + span(lag_s), '#webhooks');
  return found;
}

/** A concern stays for some seconds after it has gone: what comes and goes must not flicker. */
const concerns = new Map();
let first = true;
function showConcerns(frame) {
  const now = performance.now();
  for (const one of concernsOf(frame)) {
    if (!concerns.has(one.key) && !first) tell('Needs attention: ' + one.text + '.');
    concerns.set(one.key, { ...one, seen_at: now });
  }
  for (const [key, { seen_at, text }] of concerns) if (now - seen_at > LINGER_MS) {
    concerns.delete(key);
    tell('Settled: ' + text + '.');
  }
  first = false;
  const list = [...concerns.values()].sort((a, b) => (a.level < b.level ? -1 : 1));
  const [worst] = list;
  mark($('headline'), worst?.level ?? 'ok', worst ? some(list.length, 'thing needs attention', 'things need attention') : 'All in order');
  keep($('attention'), 'li', list, (item, { text, href, level }) => {
    if (!item.firstChild) item.append($('link').querySelector('svg').cloneNode(true), document.createElement('a'));
    item.querySelector('a').append(item.querySelector('a span') ?? document.createElement('span'));
    item.querySelector('a').setAttribute('href', href);
    mark(item, level, text);
  });
  document.title = (worst ? '(' + list.length + ') ' : '') + 'Kassa console';
}

function tile(id, [big, unit], [state, verdict], words) {
  const tile = $(id);
  say(tile.querySelector('b'), big);
  say(tile.querySelector('.unit'), unit);
  tile.dataset.state = state;
  mark(tile.querySelector('.verdict'), state, verdict);
  say(tile.querySelector('.words'), words);
}
function showTiles({ purchases, requests, latency_ms, parts_ms, queue, batch, audit }) {
  const { paid, paid_total, refused } = purchases;
  const selling = paid === null ? ['none', 'no figures yet'] : paid > 0 ? ['ok', 'selling'] : ['none', sum(refused) > 0 ? 'only refusals' : 'nothing is bought'];
  tile('purchases', paid === null ? ['–', ''] : [rate(paid), 'a second'], selling,
    rate(sum(refused)) + ' refusals and ' + rate(requests.rate) + ' requests a second' +
      (paid === null ? '' : '; ' + short(paid_total) + ' of credit a second is paid'));
  const slow = latency_ms?.p99 > SLOW_MS;
  tile('slow', latency_ms ? timeParts(latency_ms.p99) : ['–', ''],
    !latency_ms ? ['none', 'no writes'] : slow ? ['warn', 'slower than 1 s'] : ['ok', 'within 1 s'],
    latency_ms ? 'Half within ' + time(latency_ms.p50) + '. p99 of the parts: queue ' + time(parts_ms.queue?.p99) +
      ', lock ' + time(parts_ms.lock?.p99) + ', commit ' + time(parts_ms.commit?.p99) : 'Nothing was written in the last seconds');
  const behind = queue.oldest_ms > SLOW_MS;
  tile('queue', [short(queue.length), queue.length === 1 ? 'command' : 'commands'],
    behind ? ['warn', 'behind'] : ['ok', queue.length > 0 ? 'moving' : 'empty'],
    (queue.length > 0 ? 'The oldest has waited ' + time(queue.oldest_ms) : 'None waits') + '; ' + short(queue.set_aside) + ' set aside' +
      (batch ? '; ' + tenth.format(batch.mean) + ' share a transaction' : ''));
  tile('verdict', ...verdictOf(audit));
}
function verdictOf({ state, age_s, took_s, rows, violated, why }) {
  if (state === 'none') return [['–', ''], ['none', 'not run yet'], 'It begins by itself'];
  if (state === 'running') return [['Running', ''], ['wait', 'no verdict yet'], 'It reads every row'];
  if (state === 'failed') return [['Not run', ''], ['warn', 'failed ' + span(age_s) + ' ago'], why];
  const words = span(age_s) + ' ago: ' + some(rows, 'row', 'rows') + ' in ' + time(1000 * took_s);
  if (state === 'clean') return [['Clean', ''], ['ok', 'every row is explained'], words];
  return [['Violated', ''], ['bad', some(violated.length, 'invariant', 'invariants')], words];
}

function showTables({ items, purchases, retries, in_doubt, batch, holds, log, webhooks, processes, audit }) {
  rows('items', items.map(({ item_id, sold_per_s, available, sold_out_in_s: left_s }) => {
    const gone = available <= 0;
    const soon = gone || (left_s !== null && left_s < SOON_S);
    const text = gone ? 'sold out' : left_s === null ? 'not selling' : span(left_s);
    const share = gone || left_s === null ? 0 : Math.min(1, left_s / KEPT_S);
    return { key: item_id, cells: [
      { text: item_id, href: '/console/search?q=' + encodeURIComponent(item_id) },
      perSecond(sold_per_s), short(available), { text, state: soon ? 'warn' : left_s === null ? 'none' : 'wait', share },
    ] };
  }));
  const refused = Object.entries(purchases.refused).filter(([, n]) => n > 0).sort((a, b) => b[1] - a[1]);
  const all = sum(purchases.refused);
  rows('refused', refused.map(([code, n]) => ({ key: code, cells: [
    { text: code, note: TITLES[code] ?? '' }, perSecond(n), { text: whole.format((100 * n) / all) + ' %', share: n / all },
  ] })));
  const retried = Object.entries(retries).filter(([, n]) => n > 0).sort((a, b) => b[1] - a[1]);
  rows('retried', [
    ...retried.map(([code, n]) => ({ key: code, cells: [{ text: code, note: STATES[code] ?? '' }, perSecond(n)] })),
    ...(in_doubt > 0 ? [{ key: 'in doubt', cells: [{ text: 'commits in doubt', note: 'The answer was lost; each is looked up' }, perSecond(in_doubt)] }] : []),
  ]);
  facts('holds', holds && {
    'Held': some(holds.units, 'unit', 'units'), 'Of': some(holds.items, 'item', 'items'),
    'Expire within a minute': some(holds.expiring_units, 'unit', 'units'), 'Read': span(holds.age_s) + ' ago',
  });
  facts('log', log && {
    'Transactions': batch ? perSecond(batch.transactions) : 'none', 'Commands in each': batch ? tenth.format(batch.mean) : '–',
    'Events': perSecond(log.events), 'Lag': time(log.lag_ms), 'Listeners': short(log.listeners),
  });
  facts('webhooks', webhooks && {
    'Enabled': short(webhooks.enabled), 'Lag': span(webhooks.lag_s), 'Events waiting': short(webhooks.waiting),
    'The longest for': span(webhooks.waiting_s), 'Failing': short(webhooks.failing), 'Disabled': short(webhooks.disabled),
    'Events given up': short(webhooks.dead), ...(webhooks.in_trouble.length > 0 && { 'In trouble': webhooks.in_trouble.join(', ') }),
  });
  rows('processes', processes.map(({ service, version, up }, i) => ({
    key: service + ' ' + i, cells: [service, version || '–', { text: up ? 'up' : 'down', state: up ? 'ok' : 'bad' }],
  })));
  $('audit').hidden = audit.state !== 'violated';
  rows('audit', (audit.violated ?? []).map(({ invariant, violations, examples }) => ({
    key: invariant, cells: [{ text: invariant, note: examples.join('\n') }, some(violations, 'row', 'rows')],
  })));
}
const facts = (id, record) =>
  rows(id, Object.entries(record ?? {}).map(([key, text]) => ({ key, cells: [key, text] })));

function showFigures(frame) {
  showTiles(frame);
  showTables(frame);
}`;
