/**
 * `bun run docs`: writes the tables of docs/configuration.md from the schema of the configuration.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { limitPairs } from '../apps/runtime/limits.ts';
import { variables } from '../apps/runtime/variables.ts';

const PAGE = join(import.meta.dirname, 'configuration.md');

/** The page with its tables written anew. The prose around them is kept as it is. */
export const withTables = (page: string): string =>
  Object.entries({ variables: variablesTable(), limits: limitsTable() }).reduce(replaceTable, page);

function replaceTable(page: string, [name, table]: [string, string]): string {
  const [from, to] = [`<!-- table: ${name} -->\n`, `<!-- end: ${name} -->`];
  const [start, end] = [page.indexOf(from), page.indexOf(to)];
  if (start < 0 || end < start) throw new Error(`${PAGE} has no place for the table ${name}`);
  return page.slice(0, start + from.length) + table + page.slice(end);
}

function variablesTable(): string {
  const rows = Object.entries(variables.shape).map(([name, schema]) => {
    const standard = schema.safeParse(undefined).data;
    const shown = standard === undefined ? 'none' : `\`${standard}\``;
    return [`\`${name}\``, shown, allowedBy(schema), schema.description ?? ''];
  });
  return tableOf(['variable', 'default', 'value', 'meaning'], rows);
}

/** What the schema itself says about a value that it refuses. No variable accepts a blank. */
function allowedBy(schema: (typeof variables.shape)[keyof typeof variables.shape]): string {
  const message = schema.safeParse(' ').error?.issues[0]?.message ?? '';
  return message.replace(/^must (?:be|look like) /, '').replaceAll('*', '\\*');
}

function limitsTable(): string {
  const rows = limitPairs.map(([inner, how, outer, why]) => {
    return [`\`${inner}\``, how === 'below' ? '<' : '≤', `\`${outer}\``, why.replace(/^or /, '')];
  });
  return tableOf(['this limit', '', 'that limit', 'otherwise'], rows);
}

const tableOf = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |\n`).join('');

if (import.meta.main) await writeFile(PAGE, withTables(await readFile(PAGE, 'utf8')));
