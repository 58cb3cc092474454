/** A call on the docs page: its forms, its fields, its answer and its refusals. */
import { html } from 'hono/html';
import type { z } from 'zod';
import { type Call, type Example, scopeOf } from '../contract/call.ts';
import { CALLS } from '../contract/calls.ts';
import { PROBLEMS, type ProblemCode } from '../contract/problems.ts';
import {
  type Field,
  fieldsOf,
  prose,
  type Schema,
  schemaOf,
  shapeOf,
  tableOf,
} from './docs-fields.ts';

export function callSection(call: Call) {
  const { tag, name, methods, path, summary, description, body } = call;
  const [first, ...others] = methods;
  const sent = { required: 'required', optional: 'optional' };
  return html`<details id="${tag}-${name}">
<summary><b>${first}</b> <code>${path}</code> ${summary}</summary>
${description && html`<p>${prose(description)}</p>\n`}${
  others.length > 0 && html`<p>${others.join(', ')} does the same.</p>\n`
}${scopeText(scopeOf(call))}${tableOf('In the path', parametersOf(call.params, true), sent)}${tableOf(
  'In the query',
  queryOf(call),
  sent,
)}${body && tableOf('In the body, as application/json', fieldsOf(body, 'input'), sent)}${(
  call.examples ?? [undefined]
).map((example) => formOf(call, example))}${answerOf(call)}${refusalsOf(call.refusals)}</details>
`;
}

const scopeText = (scope: ReturnType<typeof scopeOf>) =>
  scope &&
  html`<p>Scope: ${scope === 'each' ? 'those of its calls' : html`<code>${scope}</code>`}</p>\n`;

/** What the page has told of an answer before is a link. */
function answerOf(call: Call) {
  const { tag, name, answer, status = 200 } = call;
  const first = CALLS.find((one) => [one.answer, entryOf(one)].includes(entryOf(call))) ?? call;
  const told = first !== call;
  const only_entries = told && isPage(call) && !isPage(first);
  const fields = fieldsOf(answer).filter(
    (field) => !told || (only_entries && !field.name.startsWith('data[]')),
  );
  const presence = { required: '', optional: 'may be missing' };
  return html`<details id="${tag}-${name}-answer">
<summary>${status}: <code>${shapeOf(answer)}</code></summary>
${tableOf('In the answer, as application/json', fields, presence)}${
  told &&
  html`<p>${only_entries ? 'Each entry' : 'It'} has the fields of the answer to <a
href="#${first.tag}-${first.name}-answer">${first.methods[0]} ${first.path}</a>.</p>
`
}</details>
`;
}

/** What one entry of a page is, or the answer. */
const entryOf = ({ answer }: Call): z.ZodType =>
  (answer as Partial<Page>).shape?.data?.element ?? answer;

const isPage = (call: Call): boolean => entryOf(call) !== call.answer;

type Page = z.ZodObject<{ data: z.ZodArray<z.ZodType> }>;

const parametersOf = (types: Readonly<Record<string, z.ZodType>>, required: boolean): Field[] =>
  Object.entries(types).map(([name, type]) => ({ name, schema: schemaOf(type), required }));

const queryOf = ({ query }: Call): Field[] => parametersOf(query?.shape ?? {}, false);

function formOf(call: Call, example: Example | undefined) {
  const { methods, path, params, body, writes } = call;
  const query = queryOf(call);
  const names = query.map(({ name }) => name).join(' ');
  const text = JSON.stringify(example?.body, null, 1) ?? '';
  return html`<form data-method="${methods[0]}" data-path="${path}" data-query="${names}">
${example && html`<p>${example.summary}</p>\n`}${parametersOf(params, true).map(
  ({ name, schema }) =>
    html`<label>${name} <input name="${name}" value="${schema.examples?.[0]}" required autocomplete="off"></label>\n`,
)}${query.map(({ name, schema }) => html`<label>${name} ${choiceOf(name, schema)}</label>\n`)}${
  writes === true &&
  html`<label>Idempotency-Key <input name="key" autocomplete="off" placeholder="none"></label>\n`
}${
  body &&
  html`<label>Body <textarea name="body" rows="${text.split('\n').length + 1}">${text}</textarea></label>\n`
}<button>Send ${methods[0]}</button>
<pre hidden></pre>
</form>
`;
}

function choiceOf(name: string, { enum: named, default: standard }: Schema) {
  if (!named) {
    return html`<input name="q_${name}" autocomplete="off" placeholder="${standard ?? 'none'}">`;
  }
  const options = named.map((one) => html`<option>${one}`);
  return html`<select name="q_${name}"><option value="">any${options}</select>`;
}

function refusalsOf(codes: readonly ProblemCode[]) {
  if (codes.length === 0) return '';
  const sorted = codes.toSorted(
    (a, b) => PROBLEMS[a].status - PROBLEMS[b].status || (a < b ? -1 : 1),
  );
  return html`<p>Refused as ${sorted.map(
    (code, i) =>
      html`${i > 0 ? ', ' : ''}${PROBLEMS[code].status} <a href="#${code}"><code>${code}</code></a>`,
  )}</p>
`;
}
