/** The page of a report: facts, sections with charts and tables. It needs no script. */
import { escaped, FONT } from './drawing.ts';

export interface Section {
  heading: string;
  text?: string;
  html: string;
}

export function htmlTable(head: readonly string[], rows: readonly (readonly unknown[])[]): string {
  const line = (tag: string, cells: readonly unknown[]) =>
    `<tr>${cells.map((cell) => `<${tag}>${escaped(String(cell))}</${tag}>`).join('')}</tr>`;
  const body = rows.map((row) => line('td', row)).join('\n');
  const table = `<thead>${line('th', head)}</thead><tbody>\n${body}\n</tbody>`;
  return `<div class="wide"><table>${table}</table></div>`;
}

/** A complete document. Headings, texts and facts are escaped; `html` of a section is not. */
export function htmlPage(
  title: string,
  facts: Record<string, string>,
  sections: Section[],
): string {
  const list = Object.entries(facts)
    .map(([name, value]) => `<div><dt>${escaped(name)}</dt><dd>${escaped(value)}</dd></div>`)
    .join('\n');
  const parts = sections.map(({ heading, text, html }) => {
    const paragraph = text ? `<p>${escaped(text)}</p>\n` : '';
    return `<section>\n<h2>${escaped(heading)}</h2>\n${paragraph}${html}\n</section>`;
  });
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escaped(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<h1>${escaped(title)}</h1>
<dl>
${list}
</dl>
${parts.join('\n')}
</main>
</body>
</html>
`;
}

const STYLE = `
:root{--paper:#fff;--card:#f6f8fa;--ink:#24292f;--soft:#57606a;--faint:#8c959f;--grid:#e3e7eb}
@media (prefers-color-scheme:dark){
:root{--paper:#14181d;--card:#1c2128;--ink:#dde3ea;--soft:#9aa5b1;--faint:#6b7681;--grid:#2d343c}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 ${FONT}}
main{max-width:62rem;margin:0 auto;padding:24px 20px 64px}
h1{font-size:26px;line-height:1.25;margin:8px 0 16px}
h2{font-size:19px;margin:36px 0 8px}
p{margin:0 0 12px;color:var(--soft);max-width:75ch}
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(14rem,100%),1fr));gap:10px 20px;margin:0;
padding:14px 16px;background:var(--card);border-radius:8px}
dt{font-size:12px;color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
svg{display:block;width:100%;min-width:36rem;height:auto}
.wide{overflow-x:auto;margin:8px 0 16px}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:14px}
th,td{padding:5px 14px 5px 0;text-align:right;white-space:nowrap;
border-bottom:1px solid var(--grid)}
th:first-child,td:first-child{text-align:left}
th{color:var(--soft);font-weight:600}
@media print{main{max-width:none;padding:0}section{break-inside:avoid}}
`;
