/** Failures on the docs page: an example, the fields, and what each code means. */
import { html, raw } from 'hono/html';
import { adviceOn } from '../contract/advice.ts';
import { problemBody } from '../contract/components.ts';
import { CODES, PROBLEMS, RETRY_LATER } from '../contract/problems.ts';
import { fieldsOf, prose, tableOf } from './docs-fields.ts';
import { problem } from './problem.ts';

export function problems() {
  const sorted = CODES.toSorted((a, b) => PROBLEMS[a].status - PROBLEMS[b].status);
  const later = [...RETRY_LATER];
  return html`<h2 id="problems">Problems, and what to do</h2>
<p>Every failure is a problem (RFC 9457). Programs should look at its <code>code</code>, which never
changes; <code>detail</code> is for people. These codes come with <code>Retry-After</code>: ${later.map(
    (code, i) => html`${i > 0 ? ', ' : ''}<code>${code}</code>`,
  )}. This, for example, is the answer to <code>POST /v1/items</code> with the body <code>{}</code>:</p>
<pre>${example()}</pre>
${tableOf('In a problem, as application/problem+json', FIELDS, {
  required: '',
  optional: 'may be missing',
})}<table class="codes">
<tr><th>Code<th>Did it happen?<th>Meaning<th>What to do
${sorted.map((code) => {
  const { meaning, action, happened } = adviceOn(code);
  return html`<tr id="${code}"><td>${PROBLEMS[code].status} <code>${raw(code.replaceAll('_', '_<wbr>'))}</code><td>${happened}<td>${prose(meaning)}<td>${prose(action)}
`;
})}</table>`;
}

function example(): string {
  const message = 'is missing: must be a whole number from 0 to 9007199254740991';
  const errors = [{ path: 'price', message }];
  const { body } = problem('invalid_body', `price: ${message}`, 'c3f1', { errors });
  return JSON.stringify(JSON.parse(body), null, 2);
}

/** Without the list of codes, which have a table of their own. */
const FIELDS = fieldsOf(problemBody).map((field) =>
  field.name === 'code' ? { ...field, schema: { ...field.schema, enum: undefined } } : field,
);
