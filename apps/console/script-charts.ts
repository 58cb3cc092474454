/** The charts: ten minutes of samples, which the browser keeps, also while the page is loaded again. */
export const CHARTS = String.raw`
const KEPT_S = 600, GAP_S = 5, CODES_MAX = 5, KEY = 'kassa-console';
let samples = restored();
function restored() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEY) ?? '[]');
    return kept.filter(({ at }) => at > Date.now() / 1000 - KEPT_S);
  } catch { return []; }
}
addEventListener('pagehide', () => {
  try { sessionStorage.setItem(KEY, JSON.stringify(samples)); } catch { /* private, or full */ }
});

function remember({ at, purchases, latency_ms, parts_ms, queue }) {
  const sample = { at: Date.parse(at) / 1000, purchases, latency_ms, parts_ms, queue };
  const last = samples.at(-1);
  if (last && sample.at <= last.at) samples = samples.filter((one) => one.at < sample.at);
  // A line across a time without frames would be made up.
  else if (last && sample.at - last.at > GAP_S) samples.push({ at: last.at + 1 });
  samples.push(sample);
  samples = samples.filter((one) => one.at > sample.at - KEPT_S);
}

/** Each line: of a sample its value, and a row of the legend. The dashes tell lines apart without colour. */
const DASHES = [[], [6, 3], [2, 3], [10, 3, 2, 3], [14, 4], [4, 4]];
const line = (label, color, of, more = {}) => ({ label, color, of, dash: DASHES[color - 1], ...more });
let codes = [];
const quiet = (code) => !samples.some(({ purchases }) => purchases?.refused?.[code] > 0);
function findCodes() {
  const totals = {};
  for (const { purchases } of samples) for (const code in purchases?.refused ?? {}) {
    totals[code] = (totals[code] ?? 0) + purchases.refused[code];
  }
  const found = Object.keys(totals).filter((code) => totals[code] > 0);
  const missing = found.some((code) => !codes.includes(code)) && (codes.length < CODES_MAX || codes.some(quiet));
  if (missing) codes = found.sort((a, b) => totals[b] - totals[a]).slice(0, CODES_MAX - 1).sort();
  if (missing && found.length > codes.length) codes.push('other codes');
}
const refusedAs = (code) => ({ purchases }) => {
  if (!purchases?.refused) return null;
  if (code !== 'other codes') return purchases.refused[code] ?? 0;
  return sum(purchases.refused) - codes.reduce((all, one) => all + (purchases.refused[one] ?? 0), 0);
};
const perS = (value) => [value == null ? '–' : perSecond(value)];
const tall = (value) => [value == null ? '–' : count(value)];
const pair = (quantiles) => [quantile(quantiles?.p50), quantile(quantiles?.p99)];
const ofPart = (name, label, color) =>
  line(label, color, (s) => s.parts_ms?.[name]?.p99 ?? null, { cells: (s) => pair(s.parts_ms?.[name]) });

const charts = {
  sold: { unit: rate, head: ['rate'], lines: () => [
    line('paid', 1, (s) => s.purchases?.paid ?? null, { fill: true, cells: (s) => perS(s.purchases?.paid) }),
    ...codes.map((code, i) => line(code, i + 2, refusedAs(code), { cells: (s) => perS(refusedAs(code)(s)) })),
  ] },
  took: { unit: time, head: ['p50', 'p99'], band: true, lines: () => [
    line('total', 1, (s) => s.latency_ms?.p99 ?? null, { cells: (s) => pair(s.latency_ms) }),
    line('', 1, (s) => s.latency_ms?.p50 ?? null),
    ofPart('queue', 'in the queue', 2), ofPart('lock', 'to lock', 3), ofPart('commit', 'to commit', 4),
  ] },
  waits: { unit: short, head: ['value'], lines: () => [
    line('waiting', 1, (s) => s.queue?.length ?? null, { fill: true, cells: (s) => tall(s.queue?.length) }),
    line('set aside', 2, (s) => s.queue?.set_aside ?? null, { cells: (s) => tall(s.queue?.set_aside) }),
    { label: 'age of the oldest', cells: (s) => [time(s.queue?.oldest_ms)] },
  ] },
};

const shade = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
function build(id) {
  const chart = charts[id];
  const at = $(id).querySelector('.plot');
  chart.plot?.destroy();
  chart.all = chart.lines();
  chart.drawn = chart.all.filter((one) => one.of);
  // uPlot enlarges only whole numbers for dense screens.
  const px = Math.round(0.84 * parseFloat(getComputedStyle(document.documentElement).fontSize));
  const axis = { stroke: shade('--soft'), font: px + 'px system-ui, sans-serif', ticks: { show: false }, grid: { stroke: shade('--grid'), width: 1 } };
  const series = chart.drawn.map(({ color, dash, fill }) => ({
    stroke: shade('--c' + color), width: (color === 1 ? 2 : 1.5) * Math.max(1, px / 12), dash, spanGaps: false,
    points: { show: false }, ...(fill && { fill: shade('--c1') + '26' }),
  }));
  chart.plot = new uPlot({
    width: at.clientWidth || 300, height: at.clientHeight || 200, padding: [8, 1.5 * px, 0, 0],
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, points: { size: 7 }, sync: { key: KEY } },
    scales: {
      x: { range: () => { const end = samples.at(-1)?.at ?? Date.now() / 1000; return [end - KEPT_S, end]; } },
      y: { range: (_, __, max) => [0, Math.max(5, (max ?? 0) * 1.08)] },
    },
    axes: [
      { ...axis, size: 2.2 * px, space: 6 * px, incrs: [60, 120, 300], values: (_, splits) => splits.map((s) => clock(s).slice(0, 5)) },
      { ...axis, size: 5 * px, space: 3 * px, gap: 8, values: (_, splits) => splits.map((n) => (n === 0 ? '0' : chart.unit(n))) },
    ],
    series: [{}, ...series],
    ...(chart.band && { bands: [{ series: [1, 2], fill: shade('--c1') + '26' }] }),
    hooks: { setCursor: [() => showLegend(id)] },
  }, columns(chart), at);
  showLegend(id);
}
const columns = ({ drawn }) => [samples.map(({ at }) => at), ...drawn.map(({ of }) => samples.map(of))];

function showLegend(id) {
  const { plot, all, head } = charts[id];
  const index = plot?.cursor.idx;
  const sample = samples[index ?? samples.length - 1] ?? {};
  const when = index != null && sample.at ? clock(sample.at) : 'now';
  const table = $(id).querySelector('table');
  keep(table.tHead.rows[0], 'th', [when, ...head].map((text, key) => ({ key: String(key), text })), (cell, { text }) => {
    cell.scope = 'col';
    say(cell, text);
  });
  const listed = all.filter(({ cells }) => cells);
  keep(table.tBodies[0], 'tr', listed.map((one) => ({ ...one, key: one.label })), (row, { label, color, dash, cells }) => {
    drawRow(row, { cells: [{ text: label }, ...cells(sample)] });
    if (!color || row.querySelector('svg')) return;
    row.cells[0].insertAdjacentHTML('afterbegin', '<svg class="stroke" aria-hidden="true" viewBox="0 0 28 4"><path d="M0 2h28"/></svg>');
    row.cells[0].firstChild.style.stroke = 'var(--c' + color + ')';
    row.cells[0].firstChild.style.strokeDasharray = dash.join(' ');
  });
}

function drawCharts() {
  const before = codes.join();
  findCodes();
  for (const id in charts) {
    if (!charts[id].plot || (id === 'sold' && codes.join() !== before)) build(id);
    else charts[id].plot.setData(columns(charts[id]));
    showLegend(id);
  }
}
function rebuild() {
  for (const id in charts) if (charts[id].plot) build(id);
}
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', rebuild);
const sizes = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    charts[target.closest('figure').id].plot?.setSize({ width: target.clientWidth, height: target.clientHeight });
  }
});
const STEPS = { ArrowLeft: -5, ArrowRight: 5, Home: -Infinity, End: Infinity };
for (const id in charts) {
  const at = $(id).querySelector('.plot');
  sizes.observe(at);
  at.addEventListener('keydown', (event) => {
    const { plot } = charts[id];
    if (event.key === 'Escape') plot?.setCursor({ left: -10, top: -10 });
    if (!plot || !(event.key in STEPS) || samples.length === 0) return;
    event.preventDefault();
    const end = samples.length - 1;
    const index = Math.min(end, Math.max(0, (plot.cursor.idx ?? end) + STEPS[event.key]));
    plot.setCursor({ left: plot.valToPos(samples[index].at, 'x'), top: 0 });
    const texts = [...$(id).querySelectorAll('.legend tr')].map((row) => row.innerText.replaceAll('\t', ' '));
    tell(texts.join(', '));
  });
}`;
