/** `/console`: the sale as it happens. The script fills it once a second. */
import { html } from 'hono/html';
import { icon, pageOf } from './shell.ts';

/** It is the same for everybody. */
export const livePage = () =>
  pageOf({
    title: 'Kassa console',
    tools: TOOLS,
    main: html`${OVERVIEW}${CHARTS}${TABLES}`,
    scripts: ['/console/uplot.js', '/console/app.js'],
  });

const TOOLS = html`<div class="tools">
<p id="link" data-state="wait">${icon('wait')}<span>connecting</span></p>
<button id="hold" type="button" aria-pressed="false">${icon('hold')}Pause</button>
</div>`;

const tile = (id: string, title: string) => html`<article class="tile" id="${id}"
 data-state="wait" aria-labelledby="${id}-title">
<h3 id="${id}-title">${title}</h3>
<p class="big"><b>–</b> <span class="unit"></span></p>
<p class="verdict">${icon('wait')}<span>no figures yet</span></p>
<p class="words"></p>
</article>
`;

const OVERVIEW = html`<h1 class="unseen">The sale as it happens</h1>
<p id="news" class="unseen" role="status"></p>
<noscript><p class="notice" data-state="bad">This page needs JavaScript: its script draws what the server
sends. The same figures are in /metrics.</p></noscript>
<p id="silent" class="notice" data-state="bad" hidden>${icon('bad')}<span></span></p>
<section aria-labelledby="headline" class="headline">
<h2 id="headline" data-state="wait">${icon('wait')}<span>Waiting for the first figures</span></h2>
<ul id="attention"></ul>
</section>
<section class="strip" aria-labelledby="glance">
<h2 class="unseen" id="glance">At a glance</h2>
${tile('purchases', 'Purchases')}${tile('slow', 'Time to answer, p99')}${tile('queue', 'Queue')}${tile('verdict', 'Audit')}</section>
`;

const chart = (id: string, title: string, words: string) => html`<figure class="panel" id="${id}">
<figcaption><h3 id="${id}-title">${title}</h3><p>${words}</p></figcaption>
<div class="plot" tabindex="0" role="group"
 aria-label="${title}, the last ten minutes. The arrow keys move through time."></div>
<table class="legend" aria-labelledby="${id}-title">
<thead><tr></tr></thead><tbody></tbody></table>
</figure>
`;

const CHARTS = html`<section aria-labelledby="minutes">
<h2 id="minutes">The last ten minutes, in local time</h2>
<div class="charts">
${chart('sold', 'Purchases and refusals', 'Per second, by outcome.')}${chart(
  'took',
  'Where the time goes',
  'Writes, from arrival to answer. The band is p50 to p99; the lines are p99 of the parts.',
)}${chart('waits', 'Queue', 'Commands waiting for a transaction.')}</div>
</section>
`;

const table = (
  id: string,
  title: string,
  heads: readonly string[],
  empty: string,
  words = '',
) => html`
<div class="panel" id="${id}">
<h3 id="${id}-title">${title}</h3>
${words && html`<p class="note">${words}</p>`}
<table aria-labelledby="${id}-title" hidden>
<thead><tr>${heads.map((head) => html`<th scope="col">${head}`)}</tr></thead><tbody></tbody></table>
<p class="empty" data-known="${empty}">No figures yet.</p>
</div>
`;

/** Terms with one figure each. */
const list = (id: string, title: string) => html`<div class="panel" id="${id}">
<h3 id="${id}-title">${title}</h3>
<table class="facts" aria-labelledby="${id}-title"><tbody></tbody></table>
<p class="empty">No figures yet.</p>
</div>
`;

const TABLES = html`<section aria-labelledby="goods">
<h2 id="goods">Sales and refusals</h2>
<div class="panels">
${table('items', 'Hottest items', ['Item', 'Sold', 'Available', 'Sold out in'], 'No sales at the moment.', 'At the rate of the last 5 s. A full bar is ten minutes or more. What was sold in the last ten minutes and is sold out stays below.')}${table('refused', 'Refusals', ['Code', 'Rate', 'Share'], 'No refusals.')}${list('holds', 'Holds')}</div>
</section>
<section aria-labelledby="machine">
<h2 id="machine">System</h2>
<div class="panels">
${table('retried', 'Retries and commits in doubt', ['SQLSTATE', 'Rate'], 'No retries, and no commits in doubt.')}${list('log', 'Transactions and log')}${list('webhooks', 'Webhooks')}${table('processes', 'Processes', ['Service', 'Version', 'State'], 'No process is known.')}${table('audit', 'Violated invariants', ['Invariant, with examples', 'Violated in'], 'None is known.')}</div>
</section>
`;
