/** The SQL texts in the sources, as patterns: what a test must have seen executed. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseSync, type TemplateLiteral, Visitor } from 'oxc-parser';
import { TOP } from './process.ts';

export interface SourceText {
  file: string;
  /** For people. An interpolation reads `…`. */
  text: string;
  /** Matches an executed text in lower case with blanks folded. */
  pattern: RegExp;
}

/** All of sql`…` and .unsafe('…') in the product. A fragment counts like a statement. */
export async function sourceTexts(): Promise<SourceText[]> {
  const files = [...new Bun.Glob('{apps,db}/**/*.ts').scanSync(TOP)].sort();
  const found = await Promise.all(
    files.map(async (file) => textsIn(await readFile(join(TOP, file), 'utf8'), file)),
  );
  return found.flat();
}

function textsIn(code: string, file: string): SourceText[] {
  const texts: SourceText[] = [];
  const add = (parts: string[]) => texts.push(asPattern(file, parts));
  const { program, errors } = parseSync(file, code);
  if (errors[0]) throw new Error(`${file}: ${errors[0].message}`);
  new Visitor({
    TaggedTemplateExpression({ tag, quasi }) {
      const name = tag.type === 'MemberExpression' ? tag.property : tag;
      if (name.type === 'Identifier' && name.name === 'sql') add(partsOf(quasi));
    },
    CallExpression({ callee, arguments: [first] }) {
      if (callee.type !== 'MemberExpression' || callee.property.type !== 'Identifier') return;
      if (callee.property.name !== 'unsafe') return;
      if (first?.type === 'TemplateLiteral') add(partsOf(first));
      if (first?.type === 'Literal') add([String(first.value)]);
    },
  }).visit(program);
  return texts;
}

/** The pieces between interpolations. */
const partsOf = ({ quasis }: TemplateLiteral): string[] => quasis.map(({ value }) => value.raw);

function asPattern(file: string, parts: string[]): SourceText {
  const text = parts.join('…').toLowerCase().replace(/\s+/g, ' ').trim();
  const pattern = text.split('…').map((part) => RegExp.escape(part));
  return { file, text, pattern: new RegExp(pattern.join('.*?'), 's') };
}
