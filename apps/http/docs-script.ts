/** The style and the script of the docs page, which loads nothing else. */
import { EXAMPLE_IDS } from '../contract/values.ts';

export const STYLE = `:root{color-scheme:light dark;font:1rem/1.5 system-ui,sans-serif}
body{max-width:54rem;margin:2rem auto;padding:0 1rem}
details{border-top:1px solid #8886;padding:.3rem 0}
details details{border:0}
summary{cursor:pointer;overflow-wrap:anywhere}
summary b{display:inline-block;min-width:4.5rem}
form{margin:.5rem 0;padding:.5rem;background:#8881}form p{margin:0 0 .5rem}
label{display:inline-block;margin:0 1rem .5rem 0;max-width:100%}
input,select,textarea{font:inherit;width:21rem;max-width:100%;box-sizing:border-box}
textarea{display:block;width:40rem;font-family:monospace;white-space:pre}button{font:inherit;display:block}
pre{white-space:pre-wrap;overflow-wrap:anywhere;background:#8882;padding:.5rem}
table{border-collapse:collapse;width:100%;margin:.5rem 0;font-size:.9rem}
caption{text-align:left;font-weight:bold}
td,th{border-top:1px solid #8884;padding:.2rem .6rem .2rem 0;text-align:left;vertical-align:top}
code,td,p{overflow-wrap:anywhere}
@media(min-width:40.01rem){td:first-child{width:27%}td:nth-child(2){width:36%}.codes td:nth-child(2){width:11%}.codes td:nth-child(3){width:35%}}
@media(max-width:40rem){th{display:none}td{display:block;border:0;padding:0}td:first-child{border-top:1px solid #8884;padding-top:.3rem}.codes td:nth-child(2)::before{content:'Did it happen? '}}`;

/**
 * Sends a form as it stands, and shows the call as a curl command. The ids of an answer go into
 * the fields and bodies that nobody has changed; a form with a user and an order takes only both
 * together. A form that removes an order keeps the first unpaid one, so that it does not remove the
 * order that the other forms work on.
 */
export const SCRIPT = `const EXAMPLES = ${JSON.stringify(EXAMPLE_IDS)};
const HINT = ': only an example. First send the forms of POST /v1/users and POST /v1/items, or write your own ids.';
const known = {};
const fields = [...document.querySelectorAll('form input[required], form textarea')];
const removes = ({ dataset }) => dataset.method === 'DELETE' && dataset.path.endsWith('/{order_id}');
for (const program of document.querySelectorAll('#start ~ pre')) {
  program.textContent = program.textContent.replace('http://127.0.0.1:8000', location.origin);
}
addEventListener('input', ({ target }) => { target.mine = target.value !== ''; });
function learn(path, answer, sent) {
  if (path.endsWith('/bulk')) {
    return answer.results.forEach(({ body }, i) => body && learn(sent.calls[i].path, body, {}));
  }
  const own = path.match(/(user|item|order|refund|key)s(?!.*refunds)/)?.[1] + '_id';
  const told = { ...sent, ...answer, ...(answer.id && { [own]: answer.id }) };
  const ids = ['user_id', 'item_id', 'order_id', 'refund_id', 'key_id'].filter((name) => told[name]);
  for (const name of ids) known[name] = told[name];
  const unpaid = /open|held/.test(answer.state) || path.startsWith('/orders/create');
  for (const field of fields) {
    const { name, form } = field;
    if (field.mine) continue;
    if (name === 'body') field.value = withIds(field.defaultValue);
    else if (!ids.includes(name)) continue;
    else if (removes(form)) field.value ||= unpaid ? told[name] : '';
    else if (told.user_id && told.order_id || !form.elements.user_id || !form.elements.order_id) field.value = told[name];
  }
}
function withIds(text) {
  for (const name in EXAMPLES) text = text.replace(RegExp('\\\\b' + EXAMPLES[name] + '\\\\b', 'g'), known[name] ?? EXAMPLES[name]);
  return text;
}
function forget(order_id) {
  for (const field of fields) if (removes(field.form) && field.value === order_id) field.value = '';
}
function show(text) {
  try { return JSON.stringify(JSON.parse(text), null, 2); } catch { return text; }
}
for (const form of document.forms) form.addEventListener('submit', async (event) => {
  event.preventDefault();
  const { method, path } = form.dataset;
  const sent = {};
  const fill = (_, name) => encodeURIComponent(sent[name] = form.elements[name].value.trim());
  const asked = form.dataset.query.split(' ').map((name) => [name, form.elements['q_' + name]?.value.trim()]);
  const query = String(new URLSearchParams(asked.filter(([, value]) => value)));
  const url = location.origin + path.replace(/\\{(\\w+)\\}/g, fill) + (query && '?' + query);
  const key = form.elements.key?.value ?? '';
  const body = form.elements.body?.value;
  const headers = key ? { 'Idempotency-Key': key } : {};
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  const credential = document.getElementById('credential').value.trim();
  const curl = ['curl', ...(method === 'GET' ? [] : ['-X', method])];
  const quoted = (text) => "'" + text.replaceAll("'", "'\\\\''") + "'";
  if (credential) curl.push('-H', '"Authorization: Bearer $KEY"');
  for (const [name, value] of Object.entries(headers)) curl.push('-H', quoted(name + ': ' + value));
  if (body !== undefined) curl.push('-d', quoted(body));
  const shown = form.querySelector('pre');
  shown.hidden = false;
  shown.textContent = curl.join(' ') + ' ' + (query ? quoted(url) : url) + '\\n';
  try {
    if (credential) headers.Authorization = 'Bearer ' + credential;
    const answer = await fetch(url, { method, headers, body });
    const text = await answer.text();
    const again = answer.headers.has('idempotency-replayed') ? ' (replayed)' : '';
    shown.textContent += '\\n' + answer.status + again + '\\n' + show(text);
    if (!answer.ok) {
      const made_up = Object.values(EXAMPLES).filter((id) => RegExp('\\\\b' + id + '\\\\b').test(body));
      if (answer.status === 404 && made_up.length > 0) shown.textContent += '\\n\\n' + made_up.join(', ') + HINT;
      return;
    }
    if (removes(form)) forget(sent.order_id);
    else learn(path, JSON.parse(text), path.endsWith('/bulk') ? JSON.parse(body) : sent);
  } catch (error) {
    shown.textContent += '\\nno answer: ' + error.message;
  }
});
function reveal() {
  const found = document.getElementById(location.hash.slice(1));
  for (let at = found; at; at = at.parentElement) if (at.tagName === 'DETAILS') at.open = true;
  found?.scrollIntoView();
}
addEventListener('hashchange', reveal);
reveal();`;
