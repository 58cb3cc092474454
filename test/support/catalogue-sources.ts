/** The SQL texts that the sources hold, as patterns: what a test has to have seen executed. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { TOP } from './process.ts';

export interface SourceText {
  file: string;
  /** For people; an interpolation reads `…`. */
  text: string;
  /** Found in an executed text, lower case and with blanks folded. */
  pattern: RegExp;
}

/** All of sql`…` and .unsafe('…') in the product; a fragment counts like a statement. */
export async function sourceTexts(): Promise<SourceText[]> {
  const files = [...new Bun.Glob('{apps,db}/**/*.ts').scanSync(TOP)].sort();
  const found = await Promise.all(
    files.map(async (file) => textsIn(await readFile(join(TOP, file), 'utf8'), file)),
  );
  return found.flat();
}

function textsIn(code: string, file: string): SourceText[] {
  const starts = [...code.matchAll(/(?<!\}\.)\bsql`|\.unsafe\(\s*[`']/g)];
  return starts.map((start) => {
    const at = start.index + start[0].length;
    const parts = partsOf(code, at, code[at - 1] ?? '');
    const folded = parts.map((part) => part.toLowerCase().replace(/\s+/g, ' '));
    const escaped = folded.map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
    return {
      file,
      text: folded.join('…').trim(),
      pattern: new RegExp(escaped.join('.*?').trim(), 's'),
    };
  });
}

/** The pieces between interpolations of the literal that begins here, with templates inside them. */
function partsOf(code: string, from: number, quote: string): string[] {
  const parts: string[] = [];
  let part = '';
  for (let i = from; i < code.length; i++) {
    if (code[i] === quote) return [...parts, part];
    if (quote === '`' && code.startsWith('${', i)) {
      i = afterBraces(code, i + 2) - 1;
      parts.push(part);
      part = '';
    } else part += code[i];
  }
  throw new Error('a text without an end');
}

function afterBraces(code: string, from: number): number {
  let depth = 1;
  let i = from;
  for (; depth > 0 && i < code.length; i++) {
    const character = code[i] ?? '';
    if (character === '{') depth++;
    else if (character === '}') depth--;
    else if (character === '`') i = afterTemplate(code, i + 1);
  }
  return i;
}

function afterTemplate(code: string, from: number): number {
  let i = from;
  for (; code[i] !== '`'; i++) if (code.startsWith('${', i)) i = afterBraces(code, i + 2) - 1;
  return i;
}
