/** The alerts, the dashboards' panels, and the series that a service exposes. */
import { collectMetrics } from '../../apps/http/metrics.ts';
import { countRequests, watchWorker } from '../../apps/webhooks/metrics.ts';
import { pathsOf, readOne, text } from '../deploy/manifests/read.ts';

interface Alert {
  alert: string;
  expr: string;
  for?: string;
  labels: Record<string, string>;
  annotations: Record<string, string>;
}
export const rules = await readOne<{ groups: { rules: Alert[] }[] }>('deploy/alerts.yml');
export const alerts = rules.groups.flatMap((group) => group.rules);

interface Prometheus {
  global: { scrape_interval: string; scrape_timeout: string };
  rule_files: string[];
  scrape_configs: {
    job_name: string;
    dns_sd_configs?: { names: string[]; port: number }[];
    static_configs?: { targets: string[] }[];
    relabel_configs?: { target_label: string; replacement: string }[];
  }[];
}
export const prometheus = await readOne<Prometheus>('deploy/prometheus.yml');

/** The job names; those discovered by DNS carry the DNS name. */
export const jobs = prometheus.scrape_configs.flatMap(
  ({ job_name, dns_sd_configs = [], relabel_configs = [] }) => {
    const to = relabel_configs.find(({ target_label }) => target_label === 'job')?.replacement;
    const names = dns_sd_configs.flatMap((config) => config.names);
    return names.length > 0 ? names.map((name) => (to ?? '$1').replace('$1', name)) : [job_name];
  },
);

interface Panel {
  id: number;
  type: string;
  title: string;
  gridPos: { x: number; y: number; w: number; h: number };
  datasource?: Source;
  targets?: { expr: string; legendFormat?: string; exemplar?: boolean; datasource?: Source }[];
}
export type Source = { type: string; uid: string };
interface Dashboard {
  uid: string;
  templating: { list: { name: string; type: string; query: unknown }[] };
  panels: Panel[];
}
export const dashboards: Dashboard[] = await Promise.all(
  pathsOf('deploy/grafana/dashboards/*.json').map(async (path) => JSON.parse(await text(path))),
);
/** The queries of all panels. */
export const targets = dashboards
  .flatMap(({ panels }) => panels)
  .flatMap(({ targets = [] }) => targets);

/** The labels of each series that a service exposes, with their values. */
type Series = Map<string, Map<string, Set<string>>>;

/**
 * The series of all services after every event has occurred once.
 * @param traced as a service that sends traces shows them
 */
export async function collected(traced = false): Promise<Series> {
  const series: Series = new Map();
  for (const service of ['order', 'payment', 'stock', 'webhooks']) {
    for (const line of (await scrapeOf(service, traced)).split('\n')) {
      const [, name = '', pairs] = line.match(/^(\w+)\{(.*?)\} \S+(?: # .+)?$/) ?? [];
      if (pairs === undefined) continue;
      const labels = series.get(name) ?? new Map<string, Set<string>>();
      series.set(name, labels);
      for (const [, label = '', value = ''] of pairs.matchAll(/(\w+)="([^"]*)"/g)) {
        labels.set(label, new Set(labels.get(label)).add(value));
      }
    }
  }
  return series;
}

export async function scrapeOf(service: string, traced: boolean): Promise<string> {
  const metrics = collectMetrics(service, '1', traced);
  const { meter } = metrics;
  metrics.requested('GET', '/stock/find', 200, 1, undefined, traced ? TRACE : undefined);
  meter.batchTaken(1, 1);
  for (const kind of ['read_ahead', 'lock', 'commit', 'settle'] as const) meter.roundTrip(kind, 1);
  for (const truth of ['committed', 'undone', 'unknown'] as const) meter.commitSettled(truth);
  meter.retried('40001');
  meter.commitAmbiguous();
  meter.laneReplaced();
  meter.readsBatched(1);
  if (service === 'webhooks') {
    countRequests(metrics.registry);
    watchWorker(metrics.registry, async () => WORKER);
  }
  const context = { body: (content: string) => new Response(content) };
  const gauges = {
    lanes: 1,
    queued: 0,
    queue_age_ms: 0,
    set_aside: 0,
    event_listeners: 0,
    operations_overdue_s: 0,
  };
  const read_connections = { open: 1, busy: 0 };
  const response = await metrics.scrape(context as never, () => ({ ...gauges, read_connections }));
  return response.text();
}

const TRACE = '0af7651916cd43dd8448eb211c80319c';
const WORKER = {
  ...{ waiting: 1, waiting_s: 1, dead: 1, disabled: 1, failing: 1 },
  ...{ enabled: 1, leased: 1, lag_s: 1 },
};

/** Labels that Prometheus adds to every series. */
export const ADDED = ['job', 'instance'];
/** Labels with a fixed set of values. */
const CLOSED = ['service', 'round_trip', 'truth', 'state', 'outcome'];

/** Series, labels and values in an expression that no service exposes, one sentence each. */
export function unknownIn(expr: string, series: Series): string[] {
  const wrong: string[] = [];
  const all = new Set(ADDED);
  for (const [, name = '', matchers = ''] of expr.matchAll(OURS)) {
    const labels = series.get(name);
    if (!labels) {
      wrong.push(`${name} is not collected`);
      continue;
    }
    for (const label of labels.keys()) all.add(label);
    for (const [, label = '', value = ''] of matchers.matchAll(/(\w+)(?:=~|!~|!=|=)"([^"]*)"/g)) {
      const values = labels.get(label);
      if (!values && !ADDED.includes(label)) wrong.push(`${name} has no label ${label}`);
      if (!values || !CLOSED.includes(label) || value.startsWith('$')) continue;
      for (const one of value.split('|')) {
        if (!values.has(one)) wrong.push(`${name} is never of ${label} ${one}`);
      }
    }
  }
  if (!OURS_ONCE.test(expr)) return wrong;
  for (const label of groupedBy(expr)) {
    if (!all.has(label)) wrong.push(`nothing can be grouped by ${label}`);
  }
  return wrong;
}
const OURS = /\b((?:kassa|process|nodejs)_\w+)(?:\{([^}]*)\})?/g;
const OURS_ONCE = new RegExp(OURS.source);

/** The labels in `by (…)`. */
export const groupedBy = (expr: string): string[] =>
  [...expr.matchAll(/\bby\s*\(([^)]*)\)/g)].flatMap(([, list = '']) => list.split(/\s*,\s*/));

/** Panels that overlap or exceed the 24 columns. */
export const misplaced = (panels: Panel[]): string[] =>
  panels.flatMap(({ title, gridPos: a }, i) => {
    const covered = panels.slice(i + 1).filter(({ gridPos: b }) => {
      const across = a.x < b.x + b.w && b.x < a.x + a.w;
      return across && a.y < b.y + b.h && b.y < a.y + a.h;
    });
    const outside = a.x < 0 || a.w < 1 || a.h < 1 || a.x + a.w > 24;
    const wrong = covered.map((other) => `${title} covers ${other.title}`);
    return outside ? [...wrong, `${title} sticks out`] : wrong;
  });
