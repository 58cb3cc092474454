/** The script of the live page: takes a frame a second and shows it. It needs uPlot, and nothing else. */
import { PROBLEMS } from '../contract/problems.ts';
import { SECONDS } from '../http/metrics.ts';
import { CHARTS } from './script-charts.ts';
import { FIGURES } from './script-figures.ts';
import { WORDS } from './script-words.ts';

const STREAM = `
// Proxies and routers may let a connection die without a word.
const SILENT_S = 4, AGAIN_S = 15, REFUSED_S = 3;
const still = matchMedia('(prefers-reduced-motion: reduce)');
let source, frame, taken = 0, held = false, was_silent = false;
let last_at = performance.now(), opened_at = 0;

function open() {
  source?.close();
  opened_at = performance.now();
  source = new EventSource('/console/frames');
  source.onmessage = ({ data }) => take(JSON.parse(data));
}

function take(next) {
  frame = next;
  last_at = performance.now();
  remember(frame);
  if (was_silent) tell('Connected again.');
  was_silent = false;
  $('silent').hidden = true;
  delete $('main').dataset.old;
  showLink();
  if (held) return;
  showConcerns(frame); // also in a tab behind others, whose title tells how many there are
  if (!document.hidden) show();
}

const showLink = () => mark($('link'), held ? 'none' : 'ok', held ? 'paused' : 'live');

function show() {
  if (!frame) return;
  showFigures(frame);
  if (!still.matches || taken % 5 === 0) drawCharts();
  taken++;
}

function watch() {
  const silent_s = Math.floor((performance.now() - last_at) / 1000);
  const open_s = (performance.now() - opened_at) / 1000;
  const refused = source.readyState === EventSource.CLOSED;
  if (open_s >= REFUSED_S && refused || silent_s >= AGAIN_S && open_s >= AGAIN_S) open();
  if (silent_s < SILENT_S) return;
  const old = frame ? ' What you see is from ' + clock(Date.parse(frame.at) / 1000) + ', and will be updated by itself.' : '';
  say($('silent').querySelector('span'), 'No connection for ' + span(silent_s) + '.' + old);
  $('silent').hidden = false;
  if (frame) $('main').dataset.old = '';
  mark($('link'), 'bad', 'reconnecting');
  document.title = '(no connection) Kassa console';
  if (!was_silent) tell('The connection is lost. It is tried again.');
  was_silent = true;
}

$('hold').addEventListener('click', () => {
  held = !held;
  $('hold').setAttribute('aria-pressed', held);
  if (frame && !was_silent) showLink();
  if (held || !frame) return;
  taken = 0;
  showConcerns(frame);
  show();
});
document.addEventListener('visibilitychange', () => {
  if (!held && !document.hidden) { taken = 0; show(); }
});
drawCharts();
setInterval(watch, 1000);
open();`;

export const SCRIPT = `(() => {
'use strict';
const EDGES_S = ${JSON.stringify(SECONDS)};
const TITLES = ${JSON.stringify(
  Object.fromEntries(Object.entries(PROBLEMS).map(([code, { title }]) => [code, title])),
)};
${[WORDS, CHARTS, FIGURES, STREAM].join('\n')}
})();
`;
