/** The pages match the code: links, anchors, scripts, variables, failures, metrics, files. */
import { expect, test } from 'bun:test';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { CALLS } from '../../apps/contract/calls.ts';
import { CODES } from '../../apps/contract/problems.ts';
import { NOT_FOR_USERS, SCOPES } from '../../apps/contract/scopes.ts';
import { eventCalls } from '../../apps/contract/v1/events.ts';
import { problem } from '../../apps/http/problem.ts';
import { variables } from '../../apps/runtime/variables.ts';
import { withTables } from '../../docs/configuration.ts';
import manifest from '../../package.json' with { type: 'json' };
import { mutants } from '../proofs/mutants/list.ts';
import { TOP } from '../support/process.ts';

const read = (path: string): string => readFileSync(join(TOP, path), 'utf8');
const pages = new Map(
  [...new Bun.Glob('**/*.md').scanSync({ cwd: TOP, dot: true })]
    .filter((path) => !/(^|\/)(node_modules|\.data|\.git)\//.test(path))
    .map((path) => [path, parse(read(path))]),
);

/** The text of a page, the targets of its links, and the anchors that GitHub gives its headings. */
function parse(text: string) {
  const links: string[] = [];
  const anchors = new Set<string>();
  const note = (children: string, target: string) => {
    links.push(target);
    return children;
  };
  Bun.markdown.render(text, {
    link: (children, { href }) => note(children, href),
    image: (children, { src }) => note(children, src),
    heading(words) {
      const plain = words.toLowerCase().replaceAll(/[^\p{L}\p{N}\s_-]/gu, '');
      const slug = plain.trim().replaceAll(' ', '-');
      let anchor = slug;
      for (let i = 1; anchors.has(anchor); i++) anchor = `${slug}-${i}`;
      anchors.add(anchor);
      return '';
    },
  });
  return { text, links: links.filter((link) => !/^[a-z]+:/.test(link)), anchors };
}

function leadsSomewhere(from: string, link: string): boolean {
  const [file = '', anchor] = link.split('#');
  const path = file === '' ? from : join(dirname(from), file);
  if (!existsSync(join(TOP, path))) return false;
  return anchor === undefined || pages.get(path)?.anchors.has(anchor) === true;
}

test('every page can be reached from the README', () => {
  const reached = new Set(['README.md']);
  for (const path of reached) {
    const links = pages.get(path)?.links ?? [];
    for (const link of links) reached.add(join(dirname(path), link.split('#')[0] ?? ''));
  }
  const lost = [...pages.keys()].filter((path) => !reached.has(path));
  expect(lost.filter((path) => !/^(\.github|test\/deploy\/data)\//.test(path))).toEqual([]);
  expect(pages.size).toBeGreaterThan(20);
});

test('the README is a page and a half, and the glossary has twelve words at most', () => {
  expect(read('README.md').trimEnd().split('\n').length).toBeLessThanOrEqual(130);
  const words = read('ARCHITECTURE.md').split('## Words')[1]?.split('\n## ')[0] ?? '';
  expect(words.match(/^\| [a-z]/gm)?.length).toBeWithin(8, 12 + 2); // and the head of the table
});

test('every relative link leads to a file, and every anchor to a heading', () => {
  const broken = [...pages].flatMap(([path, { links }]) =>
    links.filter((link) => !leadsSomewhere(path, link)).map((link) => `${path}: ${link}`),
  );
  expect(broken).toEqual([]);
});

test('every alert has its section in the runbook', () => {
  const links = [...read('deploy/alerts.yml').matchAll(/^\s*runbook(?:_url)?: (\S+)$/gm)];
  expect(links.length).toBeGreaterThan(0);
  expect(links.filter(([, link = '']) => !leadsSomewhere('.', link))).toEqual([]);
});

const sources = ['apps/http/metrics.ts', 'apps/webhooks/metrics.ts'];
const metrics = new Set(sources.flatMap((path) => read(path).match(/\bkassa_\w+/g) ?? []));
const words = ['CHECK', 'COMMIT', 'CREATEROLE'];
const others = ['COCKROACH', 'COCKROACH_LICENSE', 'COCKROACH_ORGANIZATION', 'PUBLISH'];
const settings = new Set([...Object.keys(variables.shape), ...others, ...words]);
const about_settings = /^(docs\/(configuration|running)|README)\.md$/;
const metric =
  /`(kassa_(?:webhook_\w+|\w+_(?:total|seconds|commands|length|connections|statement)))\b/g;
const file =
  /`((?:apps|db|docs|migrations|test|deploy|k8s|helm-config|stress-test)\/[\w./-]+\.\w+)`/g;
const names: [what: string, name: RegExp, exists: (name: string) => boolean, where?: RegExp][] = [
  ['`bun run …`', /\bbun(?:@[\d.]+)? run ([\w:-]+)/g, (script) => script in manifest.scripts],
  ['variable', /`([A-Z][A-Z_]+)`/g, (name) => settings.has(name), about_settings],
  ['metric', metric, (name) => metrics.has(name)],
  ['file', file, (path) => existsSync(join(TOP, path))],
];
test.each(names)('every %s that a page names exists', (_, pattern, exists, where = /./) => {
  const named = [...pages].flatMap(([path, { text }]) =>
    where.test(path) ? [...text.matchAll(pattern)].map(([, name = '']) => `${path}: ${name}`) : [],
  );
  expect(named.length).toBeGreaterThan(10);
  expect(named.filter((line) => !exists(line.split(': ')[1] ?? ''))).toEqual([]);
});

test('the page of metrics has every metric', () => {
  const page = read('docs/metrics.md');
  expect([...metrics].filter((name) => !page.includes(`\`${name}\``))).toEqual([]);
});

test('the page of authentication has every scope, and those that no key of a user has', () => {
  const [, page = ''] = /^## API keys$(.+?)^## /ms.exec(read('docs/authentication.md')) ?? [];
  const rows = [...page.matchAll(/^\| `(\w+(?::\w+)?)` \| .+ \|$/gm)].map(([, scope]) => scope);
  expect(rows).toEqual([...SCOPES]);
  const [, of_users = ''] = page.match(/Such a key cannot have the scopes ([^.]+), which/) ?? [];
  const named = [...of_users.matchAll(/`([^`]+)`/g)].map(([, scope]) => scope);
  expect(named).toEqual([...NOT_FOR_USERS]);
});

test('the page of events has every type, with its data', () => {
  const rows = [...read('docs/events.md').matchAll(/^\| `(\w+\.\w+)` \| .+ \| (.+) \|$/gm)];
  const told = rows.map(([, type, data = '']) => [
    type,
    [...data.matchAll(/(?:^|, )`(\w+)`(\??)/g)].map(([, name, optional]) => `${name}${optional}`),
  ]);
  const events = eventCalls.list.answer.shape.data.element.options;
  const known = events.map(({ shape: { type, data } }) => [
    type.value,
    Object.entries(data.shape).map(([name, field]) => (field.isOptional() ? `${name}?` : name)),
  ]);
  expect(told).toEqual(known);
});

test('the tables of the configuration page match the schema (else: bun run docs)', () => {
  const page = read('docs/configuration.md');
  expect(withTables(page)).toBe(page);
  for (const [name, schema] of Object.entries(variables.shape)) {
    const standard = schema.safeParse(undefined).data;
    const shown = standard === undefined ? 'none' : `\`${standard}\``;
    expect(page).toContain(`\n| \`${name}\` | ${shown} | `);
    expect([name, schema.description]).toEqual([name, expect.any(String)]);
  }
});

test('the failure table has the status of every code, its effect, and whether to repeat', () => {
  const page = read('docs/api.md');
  const rows = page.matchAll(/^\| ([\d, ]+) \| (`.+?) \| ([\w ]+) \| .+ \|$/gm);
  const told = new Map(
    [...rows].flatMap(([, status, codes = '', happened]) => {
      const row = { status: Number(status), happened, again: codes.includes('Retry-After') };
      return [...codes.matchAll(/`([a-z_]+)`/g)].map(([, code]) => [code, row]);
    }) as [string, { status: number; happened: string; again: boolean }][],
  );
  for (const code of CODES) {
    const { status, headers } = problem(code, '', '');
    const row = told.get(code);
    if (!row)
      expect([code, new RegExp(`\\| ${status} .*\`${code}\``).test(page)]).toEqual([code, true]);
    else expect([code, row.status, row.again]).toEqual([code, status, 'retry-after' in headers]);
    if (status < 500) expect([code, row?.happened ?? 'no']).toEqual([code, 'no']);
  }
  expect([...told.keys()].filter((code) => !(CODES as string[]).includes(code))).toEqual([]);
  expect(told.size).toBeGreaterThan(15);
});

test('every dependency has its reason in the decision on libraries', () => {
  const page = read('docs/decisions/0009-libraries.md');
  const packages = Object.keys({ ...manifest.dependencies, ...manifest.devDependencies });
  const family = (name: string) =>
    name.startsWith('@kubernetes-models/') ? 'kubernetes-models' : name;
  expect(packages.filter((name) => !page.includes(family(name)))).toEqual([]);
});

test('wherever a text says in how many ways the safety code is broken, it is about right', () => {
  const text = [...pages.values()].map((page) => page.text).join('\n');
  const texts = text + read('test/proofs/mutants/main.ts');
  const told = [...texts.matchAll(/\bin some (\d+) ways\b/g)].map(([, number]) => Number(number));
  expect(told.length).toBeGreaterThan(0);
  for (const number of told) {
    expect(number).toBeWithin(mutants.length * 0.9, mutants.length * 1.1);
  }
});

test("the gateway's own refusals have the services' codes, statuses and titles", () => {
  const file = read('deploy/nginx.conf');
  const [, lost = ''] = file.match(/map \$lost_code \$lost_title \{([^}]+)\}/) ?? [];
  const lost_titles = [...lost.matchAll(/(\w+) "(.+)";/g)];
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

test('docs/api.md has every call of the contract, and no other', () => {
  const rows = [...read('docs/api.md').matchAll(/^\| (`(?:GET|POST|PUT|PATCH|DELETE)\b[^|]+)\|/gm)];
  const documented = rows.flatMap(([, cell = '']) => {
    const path = /\/[^`]+/.exec(cell)?.[0] ?? '';
    return (cell.replace(path, '').match(/[A-Z]+/g) ?? []).map((method) => `${method} ${path}`);
  });
  const described = CALLS.flatMap(({ methods, path }) => methods.map((one) => `${one} ${path}`));
  expect(documented.toSorted()).toEqual(described.toSorted());
});
