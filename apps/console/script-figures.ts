/** Everything but the charts: what needs attention, the big figures, and the tables. */
export const FIGURES = String.raw`
// The limits are those of deploy/alerts.yml.
const SLOW_MS = 1000, WAITED_S = 3600, LAG_S = 60, SOON_S = 60, LINGER_MS = 5000;
const READ = { log: 'The log has', items: 'Items have', holds: 'Holds have', webhooks: 'Webhooks have', processes: 'The list of processes has' };
const STATES = {
  40001: 'Conflicts with other transactions', '40P01': 'Deadlocks', '55P03': 'Rows locked by others',
  '57014': 'Statements that took too long', '57P01': 'The store closed a connection', '08006': 'Lost connections',
};

function concernsOf({ trouble, audit, processes, requests, latency_ms, queue, purchases, in_doubt, webhooks, window_s }) {
  const found = [];
  const add = (is, level, key, text, href) => is && found.push({ key, level, text, href });
  if (trouble.store != null) add(true, 'bad', 'store', 'The store has not answered for ' + span(trouble.store), '#machine');
  else for (const what in trouble) add(true, 'warn', what, READ[what] + ' not been read for ' + span(trouble[what]), '#machine');
  for (const name of missing(processes)) add(true, 'bad', 'process ' + name, 'Process ' + name + ' does not answer', '#processes');
  const violated = audit.violated?.length;
  add(violated, 'bad', 'violated', 'The audit found ' + some(violated, 'violated invariant', 'violated invariants'), '#audit');
  add(audit.state === 'failed' || audit.failed, 'warn', 'audit', 'The last audit failed', '#verdict');
  add(requests?.failed > 0, 'bad', 'failed', often(requests?.failed, window_s, 'request failed with 5xx', 'requests failed with 5xx'), '#refused');
  const overloaded = purchases.refused?.overloaded;
  add(overloaded > 0, 'bad', 'overloaded', often(overloaded, window_s, 'call was refused for overload', 'calls were refused for overload'), '#refused');
  add(latency_ms?.p99 > SLOW_MS, 'warn', 'slow', 'p99 is above 1 s', '#took');
  add(queue?.oldest_ms > SLOW_MS, 'warn', 'behind', 'The oldest command has waited ' + time(queue?.oldest_ms), '#waits');
  add(in_doubt > 0, 'warn', 'in doubt', counted(in_doubt, window_s, 'commit in doubt', 'commits in doubt'), '#retried');
  const { failing = 0, dead = 0, disabled = 0, waiting_s = 0, lag_s = 0 } = webhooks ?? {};
  add(failing, 'warn', 'failing', some(failing, 'webhook is failing', 'webhooks are failing'), '#webhooks');
  add(dead, 'warn', 'dead', some(dead, 'event was given up', 'events were given up'), '#webhooks');
  add(disabled, 'warn', 'disabled', some(disabled, 'webhook is disabled', 'webhooks are disabled'), '#webhooks');
  add(waiting_s > WAITED_S, 'warn', 'waiting', 'An event has waited ' + span(waiting_s) + ' for its receiver', '#webhooks');
  add(lag_s > LAG_S, 'warn', 'lag', 'Webhooks lag by ' + span(lag_s ?? 0), '#webhooks');
  return found;
}
const missing = (processes) => [...new Set(processes.filter(({ up }) => !up).map(({ service }) => service))];

/** A concern stays for some seconds after it has gone, and says so: what comes and goes must not flicker. */
const concerns = new Map();
const of_the_store = (key) => key in READ && key !== 'processes';
let first = true;
function showConcerns(frame) {
  const now = performance.now();
  for (const one of concernsOf(frame)) {
    if (!concerns.has(one.key) && !first) tell('Needs attention: ' + one.text + '.');
    concerns.set(one.key, { ...one, seen_at: now, over: '' });
  }
  for (const [key, one] of concerns) {
    one.over = one.seen_at === now ? '' : ' until ' + Math.max(1, Math.round((now - one.seen_at) / 1000)) + ' s ago';
    if (frame.trouble.store != null && of_the_store(key)) concerns.delete(key); // one line says it all
    if (now - one.seen_at <= LINGER_MS) continue;
    concerns.delete(key);
    tell('Settled: ' + one.text + '.');
  }
  first = false;
  const list = [...concerns.values()].sort((a, b) => (a.level < b.level ? -1 : 1));
  const [worst] = list;
  mark($('headline'), worst?.level ?? 'ok', worst ? some(list.length, 'thing needs attention', 'things need attention') : 'All in order');
  keep($('attention'), 'li', list, (item, { level, text, href, over }) => {
    if (!item.firstChild) item.append($('link').querySelector('svg').cloneNode(true), document.createElement('a'));
    item.querySelector('a').append(item.querySelector('a span') ?? document.createElement('span'));
    item.querySelector('a').setAttribute('href', href);
    mark(item, level, text + (over && ' (' + over.trim() + ')'));
  });
  document.title = (worst ? '(' + list.length + ') ' : '') + 'Kassa console';
}
/** The state of a tile is that of the list. */
const told = (key, text, otherwise) => {
  const one = concerns.get(key);
  return one ? [one.level, text + one.over] : otherwise;
};

function tile(id, [big, unit], [state, verdict], words) {
  const tile = $(id);
  say(tile.querySelector('b'), big);
  say(tile.querySelector('.unit'), unit);
  tile.dataset.state = state;
  mark(tile.querySelector('.verdict'), state, verdict);
  say(tile.querySelector('.words'), words);
}
const UNKNOWN = ['–', ''];
function showTiles(frame) {
  const away = missing(frame.processes).join(', ');
  const without = (otherwise) => (away ? ['none', 'without ' + away] : otherwise);
  tile('purchases', ...purchasesOf(frame, away));
  tile('slow', ...latencyOf(frame, without));
  tile('queue', ...queueOf(frame, without));
  tile('verdict', ...verdictOf(frame.audit));
}
function purchasesOf({ purchases: { paid, paid_total, refused }, requests, trouble }, away) {
  const others = requests === null ? 'Refusals and requests: no figures'
    : rate(sum(refused)) + ' refusals and ' + rate(requests.rate) + ' requests per second' + (away ? ', without ' + away : '');
  if (paid === null) return [UNKNOWN, ['none', trouble.log == null ? 'no figures yet' : 'no figures'], others];
  const idle = refused !== null && sum(refused) > 0 ? 'only refusals' : 'no purchases';
  return [[rate(paid), 'per second'], paid > 0 ? ['ok', 'selling'] : ['none', idle], 'Revenue ' + short(paid_total) + ' per second. ' + others];
}
function latencyOf({ latency_ms, parts_ms, requests }, without) {
  if (requests === null) return [UNKNOWN, told('slow', 'slower than 1 s', ['none', 'no figures']), 'No process answers'];
  if (!latency_ms) return [UNKNOWN, told('slow', 'slower than 1 s', without(['none', 'no writes'])), 'No writes in the last 5 s'];
  return [quantileParts(latency_ms.p99), told('slow', 'slower than 1 s', without(['ok', 'within 1 s'])),
    'Median ' + quantile(latency_ms.p50) + '. p99 of the parts: queue ' + quantile(parts_ms.queue?.p99) +
      ', lock ' + quantile(parts_ms.lock?.p99) + ', commit ' + quantile(parts_ms.commit?.p99)];
}
function queueOf({ queue, batch }, without) {
  const [state, verdict] = without(['', '']);
  if (queue === null || (verdict && queue.length === 0)) {
    return [UNKNOWN, told('behind', 'behind', ['none', 'no figures']), verdict ? 'No figures ' + verdict.replace('without', 'of') : ''];
  }
  return [[short(queue.length), queue.length === 1 ? 'command' : 'commands'],
    told('behind', 'behind', without(['ok', queue.length > 0 ? 'moving' : 'empty'])),
    (queue.length > 0 ? 'The oldest has waited ' + time(queue.oldest_ms) : 'None waiting') + '; ' + short(queue.set_aside) + ' set aside' +
      (batch ? '; ' + tenth.format(batch.mean) + ' commands per transaction' : '')];
}
function verdictOf({ state, age_s, took_s, rows, violated, why, failed }) {
  if (state === 'none') return [UNKNOWN, ['none', 'not run yet'], 'It begins by itself'];
  if (state === 'running') return [['Running', ''], ['wait', 'no verdict yet'], 'It reads every row'];
  if (state === 'failed') return [['Not run', ''], ['warn', 'failed ' + span(age_s) + ' ago'], why];
  const words = span(age_s) + ' ago: ' + some(rows, 'row', 'rows') + ' in ' + time(1000 * took_s) +
    (failed ? '. The last try failed ' + span(failed.age_s) + ' ago: ' + failed.why : '');
  if (state === 'clean') return [['Clean', ''], failed ? ['warn', 'the last try failed'] : ['ok', 'every row is explained'], words];
  return [['Violated', ''], ['bad', some(violated.length, 'invariant', 'invariants')], words];
}

const NO_FIGURES = 'No figures.';
const ofItem = (id) => ({ text: id, href: '/console/search?q=' + encodeURIComponent(id) });
const hotItem = ({ item_id, sold_per_s, available, sold_out_in_s: left_s }) => {
  const gone = available <= 0;
  const soon = gone || (left_s !== null && left_s < SOON_S);
  const text = gone ? 'sold out' : left_s === null ? 'not selling' : long(left_s);
  const share = gone || left_s === null ? 0 : Math.min(1, left_s / KEPT_S);
  return { key: item_id, cells: [
    ofItem(item_id), perSecond(sold_per_s), short(available), { text, state: soon ? 'warn' : left_s === null ? 'none' : 'wait', share, note: '' },
  ] };
};
const endedItem = ({ item_id, available, last_sold_at }) => ({ key: item_id, cells: [
  ofItem(item_id), '–', short(available),
  { text: available <= 0 ? 'sold out' : 'almost sold out', state: 'warn', share: 0, note: 'last sold at ' + clock(Date.parse(last_sold_at) / 1000) },
] });

function showTables({ items, ended, purchases, retries, in_doubt, batch, holds, log, webhooks, processes, audit, trouble, window_s }) {
  for (const id of ['items', 'holds', 'log', 'webhooks']) dim(id, trouble[id]);
  rows('items', [...items.map(hotItem), ...ended.map(endedItem)]);
  const refused = Object.entries(purchases.refused ?? {}).filter(([, n]) => n > 0).sort((a, b) => b[1] - a[1]);
  const all = sum(purchases.refused ?? {});
  rows('refused', refused.map(([code, n]) => ({ key: code, cells: [
    { text: code, note: TITLES[code] ?? '' }, perSecond(n), { text: whole.format((100 * n) / all) + ' %', share: n / all },
  ] })), purchases.refused === null ? NO_FIGURES : undefined);
  const retried = Object.entries(retries ?? {}).filter(([, n]) => n > 0).sort((a, b) => b[1] - a[1]);
  rows('retried', [
    ...retried.map(([code, n]) => ({ key: code, cells: [{ text: code, note: STATES[code] ?? '' }, perSecond(n)] })),
    ...(in_doubt > 0 ? [{ key: 'in doubt', cells: [{ text: 'commits in doubt', note: 'The answer was lost; each is looked up' }, count(in_doubt) + ' in ' + Math.round(window_s) + ' s'] }] : []),
  ], retries === null ? NO_FIGURES : undefined);
  facts('holds', holds && {
    'Held': some(holds.units, 'unit', 'units'), 'Items with holds': short(holds.items),
    'Expire within a minute': some(holds.expiring_units, 'unit', 'units'), 'Read': span(holds.age_s) + ' ago',
  });
  facts('log', log && {
    'Transactions': batch ? perSecond(batch.transactions) : retries === null ? '–' : 'none', 'Commands in each': batch ? tenth.format(batch.mean) : '–',
    'Events': perSecond(log.events), 'Lag': time(log.lag_ms), 'Listeners': log.listeners === null ? '–' : short(log.listeners),
  });
  facts('webhooks', webhooks && {
    'Enabled': short(webhooks.enabled), 'Lag': webhooks.lag_s === null ? '–' : span(webhooks.lag_s), 'Events waiting': short(webhooks.waiting),
    'Longest wait': span(webhooks.waiting_s), 'Failing': short(webhooks.failing), 'Disabled': short(webhooks.disabled),
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
