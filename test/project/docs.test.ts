/** The documentation keeps to what is there: links, anchors, scripts, variables, metrics, paths. */
import { expect, test } from 'bun:test';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { CODES, problem } from '../../apps/http/problem.ts';
import { variables } from '../../apps/runtime/config.ts';
import manifest from '../../package.json' with { type: 'json' };
import { mutants } from '../proofs/mutants/list.ts';
import { TOP } from '../support/process.ts';

const read = (path: string): string => readFileSync(join(TOP, path), 'utf8');
const paths = [...new Bun.Glob('**/*.md').scanSync({ cwd: TOP, dot: true })]
  .filter((path) => !/(^|\/)(node_modules|\.data|\.git)\//.test(path))
  .sort();
const pages = paths.map((path) => ({ path, text: read(path) }));

test('the pages that people start from are there', () => {
  expect(paths).toEqual(expect.arrayContaining(['README.md', 'ARCHITECTURE.md', 'RUNBOOK.md']));
});

test('every relative link leads to a file, and every anchor to a heading', () => {
  const broken = pages.flatMap(({ path, text }) =>
    linksOf(text)
      .filter((link) => !/^[a-z]+:/.test(link))
      .filter((link) => !leadsSomewhere(path, link))
      .map((link) => `${path}: ${link}`),
  );
  expect(broken).toEqual([]);
});

test('every alert has its section in the runbook', () => {
  const links = [...read('deploy/alerts.yml').matchAll(/^\s*runbook(?:_url)?: (\S+)$/gm)];
  expect(links.length).toBeGreaterThan(0);
  const broken = links.map(([, link = '']) => link).filter((link) => !leadsSomewhere('.', link));
  expect(broken).toEqual([]);
});

test('every `bun run …` is a script', () => {
  const named = pages.flatMap(({ text }) =>
    [...text.matchAll(/\bbun(?:@[\d.]+)? run ([\w:-]+)/g)].map(([, script = '']) => script),
  );
  expect(new Set(named).size).toBeGreaterThan(5);
  expect([...new Set(named)].filter((script) => !(script in manifest.scripts))).toEqual([]);
});

test('the README has a row for every variable, with its default', () => {
  const rows = new Map(
    [...read('README.md').matchAll(/^\| `([A-Z_]+)` \| (.+?) \|/gm)].map(([, name, otherwise]) => [
      name,
      otherwise,
    ]),
  );
  for (const [name, schema] of Object.entries(variables.shape)) {
    const otherwise = schema.safeParse(undefined).data;
    expect([name, rows.get(name)]).toEqual([name, expect.any(String)]);
    if (otherwise !== undefined && name !== 'PORT' && name !== 'BATCH_INIT') {
      expect(rows.get(name)?.split(' (')[0]?.replaceAll('`', '')).toBe(String(otherwise));
    }
  }
  expect([...rows.keys()].filter((name = '') => !(name in variables.shape))).toEqual([]);
});

test('the README tells of every code its status, whether it happened, and whether to come again', () => {
  const readme = read('README.md');
  const rows = [...readme.matchAll(/^\| ([\d, ]+) \| (`.+?) \| ([\w ]+) \| .+ \|$/gm)].flatMap(
    ([, status, codes = '', happened]) =>
      [...codes.matchAll(/`([a-z_]+)`/g)].map(([, code = '']) => {
        return [code, { status: Number(status), happened, again: codes.includes('Retry-After') }];
      }),
  );
  const told = new Map(rows as [string, { status: number; happened: string; again: boolean }][]);
  for (const code of CODES) {
    const { status, headers } = problem(code, '', '');
    const row = told.get(code);
    if (!row)
      expect([code, new RegExp(`\\| ${status} .*\`${code}\``).test(readme)]).toEqual([code, true]);
    else expect([code, row.status, row.again]).toEqual([code, status, 'retry-after' in headers]);
    if (status < 500) expect([code, row?.happened ?? 'no']).toEqual([code, 'no']);
  }
  expect([...told.keys()].filter((code) => !(CODES as string[]).includes(code))).toEqual([]);
  expect(told.size).toBeGreaterThan(15);
});

test('in how many ways the safety code is broken is told about right, wherever it is told', () => {
  const texts = [...pages.map(({ text }) => text), read('test/proofs/mutants/main.ts')];
  const told = texts.flatMap((text) =>
    [...text.matchAll(/\bin some (\d+) ways\b/g)].map(([, number]) => Number(number)),
  );
  expect(told.length).toBeGreaterThan(3);
  for (const number of told) {
    expect(number).toBeWithin(mutants.length * 0.9, mutants.length * 1.1);
  }
});

test("the gateway's own refusals have the services' codes, statuses and titles", () => {
  const file = read('deploy/nginx.conf');
  const titles = file.slice(file.indexOf('map $lost_code $lost_title'));
  const lost_titles = [...titles.slice(0, titles.indexOf('}')).matchAll(/^ +(\w+) "(.+)";$/gm)];
  expect(lost_titles.length).toBe(2);
  const told = [...file.matchAll(/return (\d+) '(\{"type".+\})';/g)].flatMap(
    ([, status, body = '']) => {
      const { type, title, code, ...rest } = JSON.parse(body);
      expect([type, rest.status]).toEqual([`urn:kassa:problem:${code}`, Number(status)]);
      if (code !== '$lost_code') return [{ code, title, status: rest.status }];
      return lost_titles.map(([, code, title]) => ({ code, title, status: rest.status }));
    },
  );
  expect(told.length).toBeGreaterThan(9);
  for (const { code, title, status } of told) {
    const said = JSON.parse(problem(code, '', '').body);
    expect({ code, title, status }).toEqual({ code, title: said.title, status: said.status });
  }
  const codes = told.map(({ code }) => code);
  const own = ['malformed_request', 'request_timeout', 'body_too_large', 'head_too_large'];
  expect(codes).toEqual(expect.arrayContaining(own));
});

test('every metric that a page names is collected', () => {
  const collected = new Set(read('apps/http/metrics.ts').match(/\bkassa_\w+/g));
  const named = pages.flatMap(
    ({ text }) =>
      text.match(/`kassa_\w+_(?:total|seconds|commands|length|connections|statement)\b/g) ?? [],
  );
  expect(named.length).toBeGreaterThan(10);
  expect([...new Set(named)].filter((name) => !collected.has(name.slice(1)))).toEqual([]);
});

test('every file that a page names is there', () => {
  const named = pages.flatMap(({ path, text }) =>
    [
      ...text.matchAll(/`((?:apps|db|test|deploy|k8s|helm-config|stress-test)\/[\w./-]+\.\w+)`/g),
    ].map(([, file = '']) => `${path}: ${file}`),
  );
  expect(named.length).toBeGreaterThan(10);
  expect(named.filter((line) => !existsSync(join(TOP, line.split(': ')[1] ?? '')))).toEqual([]);
});

/** Targets of `[text](target)`, outside of code. */
const linksOf = (text: string): string[] =>
  [...withoutCode(text).matchAll(/\]\(([^)\s]+)\)/g)].map(([, link = '']) => link);

const withoutCode = (text: string): string =>
  text.replaceAll(/^ *```[\s\S]*?^ *```$/gm, '').replaceAll(/`[^`\n]*`/g, '');

function leadsSomewhere(from: string, link: string): boolean {
  const [file = '', anchor] = link.split('#');
  const path = file === '' ? from : join(dirname(from), file);
  if (!existsSync(join(TOP, path))) return false;
  return anchor === undefined || anchorsOf(read(path)).has(anchor);
}

/** As GitHub makes them: lower case, blanks to hyphens, other signs left out, doubles counted. */
function anchorsOf(text: string): Set<string> {
  const anchors = new Set<string>();
  for (const [, heading = ''] of text
    .replaceAll(/^ *```[\s\S]*?^ *```$/gm, '')
    .matchAll(/^#+ (.+)$/gm)) {
    const slug = heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
      .trim()
      .replaceAll(' ', '-');
    let anchor = slug;
    for (let i = 1; anchors.has(anchor); i++) anchor = `${slug}-${i}`;
    anchors.add(anchor);
  }
  return anchors;
}
