/** Alerts and dashboards refer only to existing series, labels, ports, sections and sources. */
import { expect, test } from 'bun:test';
import {
  ADDED,
  alerts,
  collected,
  dashboards,
  groupedBy,
  jobs,
  misplaced,
  prometheus,
  type Source,
  scrapeOf,
  targets,
  unknownIn,
} from '../support/monitoring.ts';
import { need } from '../support/need.ts';
import { services } from './manifests/all.ts';
import { type Compose, pathsOf, readOne, run, text } from './manifests/read.ts';

const { global, rule_files, scrape_configs } = prometheus;
const compose = await readOne<Compose>('compose.yaml');
const series = await collected();
/** Those of minutes and those of hours. */
const TESTS = pathsOf('deploy/alerts*.test.yml');

const SOME = expect.stringMatching(/./);
const DURATION = /^\d+[smhd]$/;
const exprs = [...alerts, ...targets].map(({ expr }) => expr);

test('every alert has a summary, a duration, a severity and a section of the runbook', async () => {
  const headings = [...(await text('RUNBOOK.md')).matchAll(/^#+ (.+)$/gm)];
  const anchors = headings.map(([, heading = '']) => heading.toLowerCase().replaceAll(' ', '-'));
  expect(alerts.length).toBeGreaterThan(20);
  for (const { alert, expr, for: since, labels, annotations } of alerts) {
    expect({ alert, labels, annotations }).toEqual({
      alert,
      labels: { severity: expect.stringMatching(/^(?:critical|warning)$/) },
      annotations: { summary: SOME, description: SOME, runbook: SOME },
    });
    const [file, anchor = ''] = annotations.runbook?.split('#') ?? [];
    expect([alert, file, anchors.includes(anchor)]).toEqual([alert, 'RUNBOOK.md', true]);
    // Without a duration one sample fires, so the expression must cover a long range.
    const steady = since === undefined ? /\[10m\]|86400/.test(expr) : DURATION.test(since);
    expect([alert, steady]).toEqual([alert, true]);
  }
  expect(new Set(alerts.map(({ alert }) => alert)).size).toBe(alerts.length);
});

test('alerts and panels use only series, labels and values that the services expose', () => {
  expect(exprs.filter((expr) => expr.includes('kassa_')).length).toBeGreaterThan(30);
  expect(exprs.flatMap((expr) => unknownIn(expr, series))).toEqual([]);
});

test.each([
  ['kassa_retry_total', 'kassa_retry_total is not collected'],
  ['rate(kassa_queue_wait_seconds[1m])', 'kassa_queue_wait_seconds is not collected'],
  ['kassa_queue_length{lane="1"}', 'kassa_queue_length has no label lane'],
  [
    'kassa_webhook_attempts_total{outcome="dead"}',
    'kassa_webhook_attempts_total is never of outcome dead',
  ],
  ['kassa_build_info{service="orders"}', 'kassa_build_info is never of service orders'],
  ['sum by (code) (kassa_retries_total)', 'nothing can be grouped by code'],
])('the rule catches %s', (expr, said) => {
  expect(unknownIn(expr, series)).toEqual([said]);
});

test('texts use only labels that the expression keeps', () => {
  const texts = [
    ...alerts.map(({ expr, annotations }) => [expr, Object.values(annotations).join()] as const),
    ...targets.map(({ expr, legendFormat = '' }) => [expr, legendFormat] as const),
  ];
  const wrong = texts.filter(([expr, shown]) => {
    const grouped = groupedBy(expr);
    const ours = [...expr.matchAll(/\b(?:kassa|process|nodejs)_\w+/g)].flatMap(([name]) => [
      ...(series.get(name)?.keys() ?? []),
    ]);
    const kept = grouped.length > 0 ? grouped : [...ours, ...ADDED, 'server'];
    const names = shown.matchAll(/(?:\$labels\.|\{\{\s*)(\w+)/g);
    return [...names].some(([, name = '']) => !kept.includes(name));
  });
  expect(wrong).toEqual([]);
});

test('Prometheus scrapes the ports on which the services expose metrics', async () => {
  const asked = scrape_configs.flatMap(({ dns_sd_configs = [] }) =>
    dns_sd_configs.flatMap(({ names, port }) => names.map((name) => [name, String(port)])),
  );
  const shown = services.map(({ name }) => {
    return [name, String(compose.services[name]?.environment?.METRICS_PORT)];
  });
  expect(asked).toEqual(shown);
  const fixed = scrape_configs.flatMap(({ static_configs = [] }) =>
    static_configs.flatMap((each) => each.targets),
  );
  const haproxy = await text('deploy/haproxy.cfg');
  for (const [host = '', port] of fixed.map((target) => target.split(':'))) {
    expect(Object.keys(compose.services)).toContain(host);
    if (host === 'haproxy') expect(haproxy).toMatch(new RegExp(`^ {2}bind :${port}$`, 'm'));
    else expect(haproxy).toContain(`server ${host} ${host}:${port} `);
  }
  expect(rule_files.map((file) => `deploy/${file}`)).toEqual(pathsOf('deploy/alerts.yml'));
  const { scrape_interval, scrape_timeout } = global;
  expect(Number.parseInt(scrape_timeout, 10)).toBeLessThan(Number.parseInt(scrape_interval, 10));
});

/** Series of common names, which other jobs may have too. */
const FOREIGN =
  /\b(?!(?:kassa|kube)_|ALERTS\b)([a-z]\w*_\w+|up|capacity)\b(?=[{[)\s]|$)(?:\{([^}]*)\})?/g;

test('expressions select by jobs that exist, and series of common names always by job', () => {
  const bare = exprs
    // Without functions and lists of labels.
    .map((expr) => expr.replaceAll(/\b(?:by|on|ignoring)\s*\([^)]*\)|\b\w+(?=\()/g, ''))
    .join('\n');
  const foreign = [...bare.matchAll(FOREIGN)];
  expect(foreign.length).toBeGreaterThan(25);
  expect(foreign.filter(([, , matchers = '']) => !/\bjob=/.test(matchers))).toEqual([]);
  const patterns = [...bare.matchAll(/\bjob=~?"([^"]+)"/g)].map(([, pattern]) => pattern);
  const lost = patterns.filter((one) => !jobs.some((job) => new RegExp(`^(?:${one})$`).test(job)));
  expect(lost).toEqual([]);
});

test('the alert tests refer to existing alerts', async () => {
  type Tests = { tests: { alert_rule_test: { alertname: string }[] }[] };
  const files = await Promise.all(TESTS.map((path) => readOne<Tests>(path)));
  const tried = files.flatMap(({ tests }) => tests.flatMap((each) => each.alert_rule_test));
  const names = alerts.map(({ alert }) => alert);
  expect(TESTS.length).toBe(2);
  expect(tried.length).toBeGreaterThan(5);
  expect(tried.filter(({ alertname }) => !names.includes(alertname))).toEqual([]);
});

interface Provisioned extends Source {
  url: string;
  jsonData?: {
    timeInterval?: string;
    exemplarTraceIdDestinations?: { name: string; datasourceUid: string }[];
  };
}
const datasources = (
  await Promise.all(
    pathsOf('deploy/grafana/provisioning/datasources/*.yaml').map((path) =>
      readOne<{ datasources: Provisioned[] }>(path),
    ),
  )
).flatMap((file) => file.datasources);
const sourceOf = (type: string) => datasources.find((one) => one.type === type);

test('every data source is a service of compose that Grafana reaches and that is ready there', () => {
  expect(datasources.map(({ uid }) => uid).sort()).toEqual(['jaeger', 'prometheus']);
  const { networks } = compose.services.grafana ?? {};
  for (const { url } of datasources) {
    const { hostname, port } = new URL(url);
    const service = compose.services[hostname];
    expect([hostname, service?.profiles]).toEqual([hostname, compose.services.grafana?.profiles]);
    expect(service.networks.filter((one: string) => networks.includes(one))).not.toEqual([]);
    expect(service.ports.map((one: string) => one.split(':').at(-1))).toEqual([port]);
    expect(service.healthcheck).toBeDefined();
  }
});

test('an exemplar of the latency leads to its trace', async () => {
  const [destination, ...more] =
    sourceOf('prometheus')?.jsonData?.exemplarTraceIdDestinations ?? [];
  expect(more).toEqual([]);
  expect(destination).toMatchObject({ datasourceUid: sourceOf('jaeger')?.uid });
  expect(await scrapeOf('payment', true)).toContain(`# {${destination?.name}="`);
  const shown = targets.filter(({ exemplar }) => exemplar);
  expect(shown.length).toBe(1);
  expect(shown[0]?.expr).toContain('kassa_http_request_duration_seconds_bucket');
});

test('with traces the series are the same, in the other format', async () => {
  expect(await collected(true)).toEqual(series);
});

test('the dashboards have unique ids, no overlaps, and known sources and variables', () => {
  expect(sourceOf('prometheus')?.jsonData).toMatchObject({ timeInterval: global.scrape_interval });
  expect(dashboards.length).toBeGreaterThan(0);
  expect(new Set(dashboards.map(({ uid }) => uid)).size).toBe(dashboards.length);
  for (const { templating, panels } of dashboards) {
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    expect(misplaced(panels)).toEqual([]);
    const choices = templating.list.filter(({ type }) => type === 'datasource');
    const known = ({ type, uid }: Source) => {
      const chosen = choices.some(({ name, query }) => uid === `\${${name}}` && query === type);
      return datasources.some((one) => one.type === type && (chosen || one.uid === uid));
    };
    const shown = panels.filter(({ type }) => type !== 'row');
    const asked = shown.flatMap(({ targets = [] }) => targets);
    for (const { datasource } of [...shown, ...asked]) {
      expect(datasource && known(datasource)).toBe(true);
    }
    const names = [...templating.list.map(({ name }) => name), '__rate_interval', '__range'];
    for (const [, name = ''] of asked
      .map(({ expr }) => expr)
      .join()
      .matchAll(/\$\{?(\w+)/g)) {
      expect(names).toContain(name);
    }
  }
});

const promtool = need('promtool', 'apt-get install prometheus');
test.skipIf(!promtool)('promtool finds nothing wrong, and the alerts fire when they should', () => {
  for (const command of [
    ['check', 'rules', 'deploy/alerts.yml'],
    ['check', 'config', 'deploy/prometheus.yml'],
    ['test', 'rules', ...TESTS],
  ]) {
    const { code, out, err } = run([promtool ?? '', ...command]);
    expect([command, code, code === 0 ? '' : out + err]).toEqual([command, 0, '']);
  }
});
