/**
 * Monitoring on Kubernetes: the same rules, the same job names, and the labels operators expect.
 */
import { expect, test } from 'bun:test';
import { basename } from 'node:path';
import { jobs, rules } from '../support/monitoring.ts';
import { overlay } from './manifests/all.ts';
import { find, ofKind, pathsOf, readOne, run, selects, text } from './manifests/read.ts';
import { production as values } from './manifests/values.ts';

const production = overlay('production');

test('the rules of the operator are those of deploy/alerts.yml, written by the script', async () => {
  const [rule, ...more] = ofKind(production, 'PrometheusRule');
  expect(more).toEqual([]);
  expect(rule?.spec).toEqual(rules);
  const { out } = run([process.execPath, 'deploy/prometheus-rule.ts']);
  expect(out).toBe(await text('k8s/overlays/production/monitoring/prometheus-rule.yaml'));
});

test('jobs have the same names as with compose, except HAProxy, which is absent', () => {
  const instance = { sourceLabels: ['__meta_kubernetes_pod_name'], targetLabel: 'instance' };
  const service = { sourceLabels: ['__meta_kubernetes_service_name'], targetLabel: 'job' };
  const kassa = find(production, 'ServiceMonitor', 'kassa').spec;
  expect(kassa.endpoints).toMatchObject([
    {
      port: 'metrics',
      path: '/metrics',
      honorLabels: true, // the label `service` comes from the process, not from Kubernetes
      relabelings: [{ ...service, replacement: 'kassa-$1' }, instance],
    },
  ]);
  const database = find(production, 'ServiceMonitor', 'cockroachdb').spec;
  expect(database.endpoints).toMatchObject([
    {
      scheme: 'https',
      tlsConfig: { ca: { secret: { name: values.tls.certs.nodeSecret } } },
      relabelings: [{ targetLabel: 'job', replacement: 'kassa-cockroachdb' }, instance],
    },
  ]);
  // The one Service of CockroachDB's chart that the values label.
  expect(database.selector.matchLabels).toEqual({
    'app.kubernetes.io/name': 'cockroachdb',
    'app.kubernetes.io/instance': 'kassa',
    ...values.service.discovery.labels,
  });
  const scraped = ofKind(production, 'Service')
    .filter(({ metadata }) => selects(kassa.selector, metadata.labels ?? {}))
    .map(({ metadata }) => `kassa-${metadata.name}`);
  const here = jobs.filter((job) => job !== 'kassa-haproxy');
  expect([...scraped, 'kassa-cockroachdb'].sort()).toEqual(here.sort());
});

test('kube-prometheus-stack finds all of it by the label `release`', () => {
  const theirs = production.filter(({ apiVersion }) => apiVersion.startsWith('monitoring.'));
  expect(theirs.length).toBe(3);
  for (const { metadata } of theirs) expect(metadata.labels?.release).toMatch(/^[a-z-]+$/);
});

test("Grafana's sidecar finds each dashboard of compose, under a stable name", async () => {
  type Kustomization = { configMapGenerator: { options?: object }[] };
  const { configMapGenerator } = await readOne<Kustomization>('deploy/grafana/kustomization.yaml');
  const stable = { options: { disableNameSuffixHash: true } };
  expect(configMapGenerator).toMatchObject([stable]);
  const { metadata, data = {} } = find(production, 'ConfigMap', 'kassa-dashboard');
  expect(metadata.labels?.grafana_dashboard).toBe('1');
  const paths = pathsOf('deploy/grafana/dashboards/*.json');
  expect(paths.length).toBeGreaterThan(0);
  expect(Object.keys(data)).toEqual(paths.map((path) => basename(path)));
  for (const path of paths) expect(data[basename(path)]).toBe(await text(path));
  // `kubectl apply` stores the object in an annotation of at most 256 KiB.
  for (const content of Object.values(data)) expect(content.length).toBeLessThan(200_000);
});
