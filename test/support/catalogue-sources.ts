/** The SQL texts in the sources, as patterns: what a test must have seen executed. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseSync, type TemplateLiteral, Visitor } from 'oxc-parser';
import { TOP } from './process.ts';

/**
 * All of sql`…` and .unsafe('…') in the product. A fragment counts like a statement. In `text`, for
 * people, an interpolation reads `…`. `pattern` matches an executed text in lower case with blanks
 * folded.
 */
export async function sourceTexts() {
  const files = [...new Bun.Glob('{apps,db}/**/*.ts').scanSync(TOP)].sort();
  const found = await Promise.all(
    files.map(async (file) => textsIn(await readFile(join(TOP, file), 'utf8'), file)),
  );
  return found.flat();
}

function textsIn(code: string, file: string) {
  const found: string[] = [];
  const add = ({ quasis }: TemplateLiteral) =>
    found.push(quasis.map(({ value }) => value.raw).join('…'));
  const { program, errors } = parseSync(file, code);
  if (errors[0]) throw new Error(`${file}: ${errors[0].message}`);
  new Visitor({
    TaggedTemplateExpression({ tag, quasi }) {
      const name = tag.type === 'MemberExpression' ? tag.property : tag;
      if (name.type === 'Identifier' && name.name === 'sql') add(quasi);
    },
    CallExpression({ callee, arguments: [first] }) {
      if (callee.type !== 'MemberExpression' || callee.property.type !== 'Identifier') return;
      if (callee.property.name !== 'unsafe') return;
      if (first?.type === 'TemplateLiteral') add(first);
      if (first?.type === 'Literal') found.push(String(first.value));
    },
  }).visit(program);
  return found.map((raw) => {
    const text = raw.toLowerCase().replace(/\s+/g, ' ').trim();
    const parts = text.split('…').map((part) => RegExp.escape(part));
    return { file, text, pattern: new RegExp(parts.join('.*?'), 's') };
  });
}
