/** Monitoring on Kubernetes: the same rules, the same job names, and the labels operators expect. */
import { expect, test } from 'bun:test';
import { basename } from 'node:path';
import {
  alerts,
  dashboards,
  jobsOf,
  type Prometheus,
  type Rules,
  rules,
} from '../support/monitoring.ts';
import { overlay } from './manifests/all.ts';
import { type Manifest, ofKind, pathsOf, readYaml, run, selects, text } from './manifests/read.ts';

interface Monitor {
  spec: {
    selector: { matchLabels: Record<string, string> };
    endpoints: {
      honorLabels?: boolean;
      relabelings?: { sourceLabels?: string[]; targetLabel: string; replacement?: string }[];
    }[];
  };
}
const production = overlay('production');
const monitors = ofKind<Monitor>(production, 'ServiceMonitor');
const [prometheus] = await readYaml<Prometheus>('deploy/prometheus.yml');
if (!prometheus) throw new Error('deploy/prometheus.yml is empty');
const HERE = jobsOf(prometheus);

/** The Service of CockroachDB's chart that its values label for metrics. */
const CHART: Manifest = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: {
    name: 'kassa-cockroachdb',
    labels: {
      'app.kubernetes.io/name': 'cockroachdb',
      'app.kubernetes.io/instance': 'kassa',
      metrics: 'nodes',
    },
  },
};

/** A label of the targets, after the operator's and the monitor's relabelings. */
function labelOf(label: string, service: Manifest, { spec }: Monitor): string {
  const known: Record<string, string> = {
    __meta_kubernetes_service_name: service.metadata.name,
    __meta_kubernetes_pod_name: `${service.metadata.name}-pod`,
  };
  const given: Record<string, string> = { job: service.metadata.name, instance: '10.0.0.1:9000' };
  for (const { relabelings = [] } of spec.endpoints) {
    for (const { sourceLabels = [], targetLabel, replacement = '$1' } of relabelings) {
      const source = sourceLabels.map((name) => known[name] ?? '').join(';');
      given[targetLabel] = replacement.replace('$1', source);
    }
  }
  return given[label] ?? '';
}
const services = [...ofKind(production, 'Service'), CHART];
const targets = monitors.flatMap((monitor) =>
  services
    .filter(({ metadata }) => selects(monitor.spec.selector, metadata.labels ?? {}))
    .map((service) => ({ service, monitor })),
);

test('the rules of the operator are those of deploy/alerts.yml, written by the script', async () => {
  const [rule, ...more] = ofKind<{ spec: Rules }>(production, 'PrometheusRule');
  expect(more).toEqual([]);
  expect(rule?.spec).toEqual(rules);
  const { out } = await run([process.execPath, 'deploy/prometheus-rule.ts']);
  expect(out).toBe(await text('k8s/overlays/production/monitoring/prometheus-rule.yaml'));
});

test('jobs have the same names as with compose, except HAProxy, which is absent', () => {
  const there = targets.map(({ service, monitor }) => labelOf('job', service, monitor));
  expect(there.sort()).toEqual(HERE.filter((job) => job !== 'kassa-haproxy').sort());
  for (const { service, monitor } of targets) {
    expect(labelOf('instance', service, monitor)).toBe(`${service.metadata.name}-pod`);
  }
});

test('the label `service` comes from the process, not from Kubernetes', () => {
  const kassa = monitors.find(({ metadata }) => metadata.name === 'kassa');
  expect(kassa?.spec.endpoints.map(({ honorLabels }) => honorLabels)).toEqual([true]);
});

/** Series of common names: the job tells ours from others. */
const FOREIGN =
  /\b(?!(?:kassa|kube)_|ALERTS\b)([a-z]\w*_\w+|up|capacity)\b(?=[{[)\s]|$)(?:\{([^}]*)\})?/g;

test('expressions select series of common names by job', () => {
  const exprs = [alerts, ...dashboards.flatMap(({ panels }) => panels.map((p) => p.targets ?? []))]
    .flat()
    .map(({ expr }) => expr);
  const asked = exprs.flatMap((expr) => [
    ...withoutWords(expr)
      .matchAll(FOREIGN)
      .map(([all, , matchers = '']) => ({ all, matchers })),
  ]);
  expect(asked.length).toBeGreaterThan(25);
  const loose = asked.filter(({ matchers }) => {
    const pattern = matchers.match(/\bjob=~?"([^"]+)"/)?.[1];
    return !pattern || !HERE.some((job) => new RegExp(`^(?:${pattern})$`).test(job));
  });
  expect(loose).toEqual([]);
});

/** The expression without functions and lists of labels. */
const withoutWords = (expr: string): string =>
  expr.replaceAll(/\b(?:by|on|ignoring)\s*\([^)]*\)/g, '').replaceAll(/\b\w+(?=\()/g, '');

test('kube-prometheus-stack finds all of it by the label `release`', () => {
  const theirs = production.filter(({ apiVersion }) => apiVersion.startsWith('monitoring.'));
  expect(theirs.length).toBe(3);
  for (const { metadata } of theirs) expect(metadata.labels?.release).toMatch(/^[a-z-]+$/);
});

test("Grafana's sidecar finds each dashboard of compose, under a stable name", async () => {
  const maps = ofKind<{ data: Record<string, string> }>(production, 'ConfigMap');
  const found = maps.filter(({ metadata }) => metadata.labels?.grafana_dashboard === '1');
  const given = Object.assign({}, ...found.map(({ data }) => data));
  const files = pathsOf('deploy/grafana/dashboards/*.json');
  expect(files.length).toBeGreaterThan(0);
  expect(Object.keys(given)).toEqual(files.map((path) => basename(path)));
  for (const path of files) expect(given[basename(path)]).toBe(await text(path));
  // `kubectl apply` stores the object in an annotation of at most 256 KiB.
  for (const content of Object.values(given)) expect(String(content).length).toBeLessThan(200_000);
  const [made] = await readYaml<{ configMapGenerator: { options: object }[] }>(
    'deploy/grafana/kustomization.yaml',
  );
  expect(made?.configMapGenerator.length).toBeGreaterThan(0);
  for (const { options } of made?.configMapGenerator ?? []) {
    expect(options).toMatchObject({ disableNameSuffixHash: true });
  }
});
