/** Numbers with their units, and what changes the page: only what differs, so that focus stays. */
export const WORDS = `
const $ = (id) => document.getElementById(id);
const figure = (digits) => new Intl.NumberFormat('en', { minimumFractionDigits: digits, maximumFractionDigits: digits });
const [whole, tenth, hundredth] = [0, 1, 2].map(figure);
const compact = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });
const count = (n) => whole.format(n);
const short = (n) => (n < 100000 ? count(n) : compact.format(n));
const sum = (record) => Object.values(record).reduce((a, b) => a + b, 0);
function rate(n) {
  if (n > 0 && n < 0.05) return '<0.1';
  return n > 0 && n < 9.95 ? tenth.format(n) : short(n);
}
const perSecond = (n) => rate(n) + ' /s';
function timeParts(ms) {
  if (ms === 0) return ['0', 'ms'];
  if (ms < 9.95) return [tenth.format(ms), 'ms'];
  if (ms < 999.5) return [whole.format(ms), 'ms'];
  return ms < 59995 ? [hundredth.format(ms / 1000), 's'] : [span(ms / 1000), ''];
}
/** Of a quantile. Above a second buckets are wide: more is not known than their bounds. */
function quantileParts(ms) {
  if (ms == null) return ['–', ''];
  if (ms <= 1000) return timeParts(ms);
  const above = EDGES_S.findIndex((edge) => edge > ms / 1000);
  return [above === -1 ? '>' + EDGES_S.at(-1) : EDGES_S[above - 1] + '–' + EDGES_S[above], 's'];
}
const quantile = (ms) => quantileParts(ms).join(' ').trim();
const time = (ms) => (ms == null ? '–' : timeParts(ms).join(' ').trim());
function span(s) {
  const [days, hours, minutes] = [s / 86400, (s % 86400) / 3600, (s % 3600) / 60].map(Math.floor);
  if (days > 0) return days + ' d ' + hours + ' h';
  if (hours > 0) return hours + ' h ' + minutes + ' min';
  if (minutes > 9) return minutes + ' min';
  return minutes > 0 ? minutes + ' min ' + Math.floor(s % 60) + ' s' : Math.floor(s) + ' s';
}
const long = (s) => (s > 7 * 86400 ? 'more than a week' : span(s));
const clock = (at) => new Date(at * 1000).toLocaleTimeString('en-GB');
const some = (n, one, many) => short(n) + ' ' + (n === 1 ? one : many);

/** What is rare is counted, not made a rate. @param n in a second */
const often = (n, window_s, one, many) => n >= 1 ? rate(n) + ' ' + many + ' per second' : counted(Math.max(1, Math.round(n * window_s)), window_s, one, many);
const counted = (n, window_s, one, many) => some(n, one, many) + ' in the last ' + Math.max(1, Math.round(window_s)) + ' s';

function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
/** A state is a shape and words; its colour only helps. */
function mark(element, state, text) {
  if (element.dataset.state !== state) {
    element.dataset.state = state;
    element.querySelector('use').setAttribute('href', '#i-' + state);
  }
  say(element.querySelector('span'), text);
}

/** The one place that is read out. What happens at once is read as one. */
let to_tell = [];
function tell(text) {
  if (to_tell.length === 0) setTimeout(() => {
    $('news').textContent = to_tell.join(' ');
    to_tell = [];
  }, 1000);
  to_tell.push(text);
}

const part = (element, name) => element.querySelector(name) ?? element.appendChild(document.createElement(name));
/** Children with the same key stay the same elements. */
function keep(parent, name, list, draw) {
  const old = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  list.forEach((one, i) => {
    let child = old.get(one.key);
    old.delete(one.key);
    if (!child) {
      child = document.createElement(name);
      child.dataset.key = one.key;
    }
    draw(child, one);
    const there = parent.children[i] ?? null;
    if (there === child) return;
    if (child.isConnected && parent.moveBefore) parent.moveBefore(child, there);
    else parent.insertBefore(child, there);
  });
  for (const child of old.values()) child.remove();
}

/** Dims what was not read for some time, and says for how long. */
function dim(id, age_s) {
  const panel = $(id);
  if (age_s == null) delete panel.dataset.old;
  else panel.dataset.old = '';
  const note = panel.querySelector('h3 small') ?? (age_s == null ? null : part(panel.querySelector('h3'), 'small'));
  if (note) say(note, age_s == null ? '' : ' ' + span(age_s) + ' old');
}

/** @param list a row each: a key, and cells, which are texts or have parts. @param none where nothing is known */
function rows(id, list, none) {
  const table = $(id).querySelector('table');
  table.hidden = list.length === 0;
  const empty = $(id).querySelector('.empty');
  empty.hidden = list.length > 0;
  if (none ?? empty.dataset.known) say(empty, none ?? empty.dataset.known);
  keep(table.tBodies[0], 'tr', list, drawRow);
}
function drawRow(row, { cells }) {
  cells.forEach((content, i) => {
    let cell = row.cells[i];
    if (!cell) {
      cell = row.appendChild(document.createElement(i === 0 ? 'th' : 'td'));
      if (i === 0) cell.scope = 'row';
    }
    if (typeof content === 'string') say(cell, content);
    else drawParts(cell, content);
  });
}
function drawParts(cell, { text, state, href, note, share }) {
  if (state) {
    if (!cell.firstChild) cell.append($('link').querySelector('svg').cloneNode(true), document.createElement('span'));
    mark(cell, state, text);
  } else if (href) {
    const link = part(cell, 'a');
    say(link, text);
    if (link.getAttribute('href') !== href) link.href = href;
  } else say(part(cell, 'span'), text);
  if (note !== undefined) say(part(cell, 'small'), note);
  if (share === undefined) return;
  const bar = part(cell, 'i');
  part(bar, 'b').style.width = (100 * share).toFixed(1) + '%';
  bar.hidden = share === 0;
}`;
