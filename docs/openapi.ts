/** `bun run docs`: writes docs/openapi.json from the contract, unless that would break clients. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { openApi } from '../apps/contract/openapi.ts';
import project from '../package.json' with { type: 'json' };
import { type Document, whatBreaks } from './breaking.ts';

const FILE = join(import.meta.dirname, 'openapi.json');

/** The document that the services serve, as the repository keeps it. */
export const written = (): string => `${JSON.stringify(openApi(project.version), null, 1)}\n`;

export const kept = (): Promise<string> => readFile(FILE, 'utf8');

if (import.meta.main) {
  const breaks = whatBreaks(JSON.parse(await kept()), JSON.parse(written()) as Document);
  if (breaks.length > 0 && !process.argv.includes('--breaking')) {
    console.error(`kassa: clients of docs/openapi.json would break:\n  ${breaks.join('\n  ')}`);
    console.error('Keep what is there, or say `bun run docs --breaking`.');
    process.exit(1);
  }
  await writeFile(FILE, written());
}
