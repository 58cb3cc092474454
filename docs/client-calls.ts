/** `bun run docs`: writes the part of the contract that the client needs when it runs. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Call } from '../apps/contract/call.ts';
import { CALLS } from '../apps/contract/calls.ts';

const FILE = join(import.meta.dirname, '../apps/client/calls.ts');

/** The module, as the formatter would have it. */
export function written(): string {
  const groups = Map.groupBy(CALLS, ({ tag }) => tag);
  const lines = [...groups].map(
    ([tag, calls]) => `  ${tag}: {\n${calls.map(lineOf).join('')}  },\n`,
  );
  return `/** Written by \`bun run docs\` from apps/contract: the calls, without what only types need. */
export const CALLS = {
${lines.join('')}} as const;
`;
}

function lineOf({ name, methods, path, body, query, writes }: Call): string {
  const fields = [
    `method: '${methods[0]}'`,
    `path: '${path}'`,
    `writes: ${typeof writes === 'string' ? `'${writes}'` : writes}`,
  ];
  if (body) fields.push('body: true');
  if (query) fields.push('query: true');
  const line = `    ${name}: { ${fields.join(', ')} },\n`;
  if (line.length <= 101) return line;
  return `    ${name}: {\n${fields.map((field) => `      ${field},\n`).join('')}    },\n`;
}

export const kept = (): Promise<string> => readFile(FILE, 'utf8');

if (import.meta.main) await writeFile(FILE, written());
