/** The calls in the table of docs/api.md: the paths of the API, by which tests visit all of them. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { TOP } from './process.ts';

/** @returns rows such as `[['DELETE', 'POST'], '/orders/remove/{order_id}']` */
export function documentedCalls(): [methods: string[], path: string][] {
  const page = readFileSync(join(TOP, 'docs/api.md'), 'utf8');
  const cells = [...page.matchAll(/^\| (`(?:GET|POST|DELETE)\b[^|]+)\|/gm)].map(([, cell]) => cell);
  if (cells.length < 20) throw new Error('docs/api.md has no table of all calls');
  return cells.map((cell = '') => {
    const path = /\/[^`]+/.exec(cell)?.[0] ?? '';
    return [cell.replace(path, '').match(/[A-Z]+/g) ?? [], path];
  });
}
