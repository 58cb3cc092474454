/** Alerts and dashboards refer only to existing series, labels, ports, sections and sources. */
import { expect, test } from 'bun:test';
import {
  ADDED,
  alerts,
  collected,
  dashboards,
  groupedBy,
  jobsOf,
  misplaced,
  type Prometheus,
  type Source,
  unknownIn,
} from '../support/monitoring.ts';
import { need } from '../support/need.ts';
import type { Compose } from './manifests/compose.ts';
import { readProduct } from './manifests/configuration.ts';
import { pathsOf, readYaml, run, text } from './manifests/read.ts';

const [prometheus] = await readYaml<Prometheus>('deploy/prometheus.yml');
if (!prometheus) throw new Error('deploy/prometheus.yml is empty');
const { global, rule_files, scrape_configs } = prometheus;
const [compose] = await readYaml<Compose>('compose.yaml');
const series = await collected();
/** Those of minutes and those of hours. */
const TESTS = pathsOf('deploy/alerts*.test.yml');

const DURATION = /^\d+[smhd]$/;
const panels = dashboards.flatMap((dashboard) => dashboard.panels);
const targets = panels.flatMap(({ targets = [] }) => targets);

test('every alert has a summary, a duration, a severity and a section of the runbook', async () => {
  const headings = [...(await text('RUNBOOK.md')).matchAll(/^#+ (.+)$/gm)];
  const anchors = headings.map(([, heading = '']) => heading.toLowerCase().replaceAll(' ', '-'));
  expect(alerts.length).toBeGreaterThan(20);
  for (const { alert, expr, for: since, labels, annotations } of alerts) {
    const [file, anchor = ''] = annotations.runbook?.split('#') ?? [];
    expect([alert, file, anchors.includes(anchor)]).toEqual([alert, 'RUNBOOK.md', true]);
    expect([alert, labels]).toEqual([
      alert,
      { severity: expect.stringMatching(/^(?:critical|warning)$/) },
    ]);
    expect(Object.keys(annotations)).toEqual(['summary', 'description', 'runbook']);
    for (const said of Object.values(annotations)) expect([alert, said]).not.toEqual([alert, '']);
    // Without a duration one sample fires, so the expression must cover a long range.
    const steady = since === undefined ? /\[10m\]|86400/.test(expr) : DURATION.test(since);
    expect([alert, steady]).toEqual([alert, true]);
  }
  expect(new Set(alerts.map(({ alert }) => alert)).size).toBe(alerts.length);
});

test('alerts and panels use only series, labels and values that the services expose', () => {
  const exprs = [...alerts, ...targets].map(({ expr }) => expr);
  const ours = exprs.filter((expr) => expr.includes('kassa_'));
  expect(ours.length).toBeGreaterThan(30);
  expect(ours.flatMap((expr) => unknownIn(expr, series))).toEqual([]);
  expect(exprs.flatMap((expr) => unknownIn(expr, series))).toEqual([]);
});

test.each([
  ['kassa_retry_total', 'kassa_retry_total is not collected'],
  ['rate(kassa_queue_wait_seconds[1m])', 'kassa_queue_wait_seconds is not collected'],
  ['kassa_queue_length{lane="1"}', 'kassa_queue_length has no label lane'],
  ['kassa_build_info{service="orders"}', 'kassa_build_info is never of service orders'],
  ['sum by (code) (kassa_retries_total)', 'nothing can be grouped by code'],
])('the rule catches %s', (expr, said) => {
  expect(unknownIn(expr, series)).toEqual([said]);
});

test('texts use only labels that the expression keeps', () => {
  const wrong = [
    ...alerts.map(({ alert, expr, annotations }) => ({
      what: alert,
      expr,
      names: Object.values(annotations)
        .join()
        .matchAll(/\$labels\.(\w+)/g),
    })),
    ...targets.map(({ expr, legendFormat = '' }) => ({
      what: legendFormat,
      expr,
      names: legendFormat.matchAll(/\{\{\s*(\w+)\s*\}\}/g),
    })),
  ].flatMap(({ what, expr, names }) => {
    const grouped = groupedBy(expr);
    const ours = [...expr.matchAll(/\b(?:kassa|process|nodejs)_\w+/g)].flatMap(([name]) => [
      ...(series.get(name)?.keys() ?? []),
    ]);
    const kept = grouped.length > 0 ? grouped : [...ours, ...ADDED, 'server'];
    return [...names].filter(([, name = '']) => !kept.includes(name)).map(() => `${what}: ${expr}`);
  });
  expect(wrong).toEqual([]);
});

test('Prometheus scrapes the ports on which the services expose metrics', async () => {
  const { ports } = await readProduct();
  const asked = scrape_configs.flatMap(({ dns_sd_configs = [] }) =>
    dns_sd_configs.flatMap(({ names, port }) => names.map((name) => [name, String(port)])),
  );
  const shown = Object.keys(ports).map((name) => {
    return [name, compose?.services[name]?.environment?.METRICS_PORT];
  });
  expect(Object.fromEntries(asked)).toEqual(Object.fromEntries(shown));
  const fixed = scrape_configs.flatMap(({ static_configs = [] }) =>
    static_configs.flatMap((each) => each.targets),
  );
  const haproxy = await text('deploy/haproxy.cfg');
  for (const [host = '', port] of fixed.map((target) => target.split(':'))) {
    expect(Object.keys(compose?.services ?? {})).toContain(host);
    if (host === 'haproxy') expect(haproxy).toMatch(new RegExp(`^ {2}bind :${port}$`, 'm'));
    else expect(haproxy).toContain(`server ${host} ${host}:${port} `);
  }
  expect(rule_files.map((file) => `deploy/${file}`)).toEqual(pathsOf('deploy/alerts.yml'));
  for (const time of Object.values(global)) expect(time).toMatch(DURATION);
  expect(Number.parseInt(global.scrape_timeout, 10)).toBeLessThan(
    Number.parseInt(global.scrape_interval, 10),
  );
});

test('job patterns in alerts match a job', () => {
  const jobs = jobsOf(prometheus);
  const asked = alerts.flatMap(({ expr }) => [...expr.matchAll(/\bjob=~?"([^"]+)"/g)]);
  expect(asked.length).toBeGreaterThan(1);
  for (const [, pattern] of asked) {
    expect([pattern, jobs.some((job) => new RegExp(`^(?:${pattern})$`).test(job))]).toEqual([
      pattern,
      true,
    ]);
  }
});

test('the alert tests refer to existing alerts', async () => {
  type Tests = { tests: { alert_rule_test: { alertname: string }[] }[] };
  const files = await Promise.all(TESTS.map((path) => readYaml<Tests>(path)));
  const tried = files.flat().flatMap(({ tests }) => tests.flatMap((each) => each.alert_rule_test));
  const names = alerts.map(({ alert }) => alert);
  expect(TESTS.length).toBe(2);
  expect(tried.length).toBeGreaterThan(5);
  expect(tried.filter(({ alertname }) => !names.includes(alertname))).toEqual([]);
});

test('the dashboards have unique ids, no overlaps, and known sources and variables', async () => {
  expect(dashboards.length).toBeGreaterThan(0);
  type Sources = { datasources: { type: string; uid: string; jsonData: unknown }[] };
  const [provisioned] = await readYaml<Sources>(
    'deploy/grafana/provisioning/datasources/prometheus.yaml',
  );
  const sources = provisioned?.datasources ?? [];
  expect(dashboards.length).toBeGreaterThan(0);
  for (const { templating, panels } of dashboards) {
    const ids = panels.map(({ id }) => id);
    expect(ids).toEqual([...new Set(ids)]);
    expect(misplaced(panels)).toEqual([]);
    const choices = templating.list.filter(({ type }) => type === 'datasource');
    const known = ({ type, uid }: Source) =>
      choices.some(({ name, query }) => uid === `\${${name}}` && query === type)
        ? sources.some((source) => source.type === type)
        : sources.some((source) => source.type === type && source.uid === uid);
    const shown = panels.filter(({ type }) => type !== 'row');
    const used = [...shown, ...shown.flatMap(({ targets = [] }) => targets)];
    for (const { datasource } of used) expect(datasource && known(datasource)).toBe(true);
    const names = [...templating.list.map(({ name }) => name), '__rate_interval', '__range'];
    for (const { expr } of shown.flatMap(({ targets = [] }) => targets)) {
      for (const [, name] of expr.matchAll(/\$\{?(\w+)/g)) expect(names).toContain(String(name));
    }
  }
  expect(new Set(dashboards.map(({ uid }) => uid)).size).toBe(dashboards.length);
  expect(sources[0]?.jsonData).toMatchObject({ timeInterval: global.scrape_interval });
});

const promtool = need('promtool', 'apt-get install prometheus');
test.skipIf(!promtool)(
  'promtool finds nothing wrong, and the alerts fire when they should',
  async () => {
    for (const command of [
      ['check', 'rules', 'deploy/alerts.yml'],
      ['check', 'config', 'deploy/prometheus.yml'],
      ['test', 'rules', ...TESTS],
    ]) {
      const { code, out, err } = await run([promtool ?? '', ...command]);
      expect([command, code, code === 0 ? '' : out + err]).toEqual([command, 0, '']);
    }
  },
);
