/** The values for the Helm charts: known to the charts, and consistent with the manifests. */
import { expect, test } from 'bun:test';
import { built, overlay, settings, tools } from './manifests/all.ts';
import { podsOf } from './manifests/pods.ts';
import { ofKind, pathsOf, text } from './manifests/read.ts';
import {
  at,
  INSTALLS,
  invalidValues,
  merge,
  readChart,
  readValues,
  unknownValues,
  type Values,
  versionOf,
} from './manifests/values.ts';

const development = await readValues(['cockroachdb', 'cockroachdb-development']);
const production = await readValues(['cockroachdb', 'cockroachdb-production']);
const cockroachdb = await readChart('cockroachdb');
const traefik = await readChart('traefik');

test.each(INSTALLS)('$files are values that the chart $chart knows', async ({ chart, files }) => {
  const values = await readValues(files);
  const published = chart === 'traefik' ? traefik : cockroachdb;
  expect(unknownValues(values, published.values)).toEqual([]);
  expect(invalidValues(values, published)).toEqual([]);
});

test('every values file belongs to an installation', () => {
  const used = new Set(
    INSTALLS.flatMap(({ files }) => files.map((file) => `helm-config/${file}.yaml`)),
  );
  expect(pathsOf('helm-config/*.yaml')).toEqual([...used].sort());
});

test('an unknown key and a wrong type are caught', () => {
  const keys = (values: Values) => unknownValues(values, cockroachdb.values);
  expect(keys({ statefulset: { replica: 3 } })).toEqual([
    'statefulset.replica is no key of the chart',
  ]);
  expect(keys({ tls: { certs: { certmanager: true } } }).length).toBe(1);
  expect(keys({ service: { discovery: { labels: { any: 'label' } } } })).toEqual([]);
  const selfSigner = { enabled: 'yes', caProvided: false };
  expect(invalidValues({ tls: { certs: { selfSigner } } }, cockroachdb)).toContain(
    '/tls/certs/selfSigner/enabled must be boolean',
  );
  expect(invalidValues({ deployment: { replicas: 'two' } }, traefik).join()).toContain('/replicas');
  expect(invalidValues({ deploiment: {} }, traefik).join()).toContain('additional properties');
});

test('chart versions are written in one place', async () => {
  for (const chart of ['cockroachdb', 'traefik']) {
    const version = await versionOf(chart);
    for (const path of [
      ...pathsOf('deploy/{minikube,cluster}'),
      ...pathsOf('helm-config/*.yaml'),
    ]) {
      expect([path, (await text(path)).includes(version)]).toEqual([path, false]);
    }
  }
});

test('one version of CockroachDB everywhere', () => {
  const tag = at(production, 'image.tag');
  expect(String(tag)).toMatch(/^v\d+\.\d+\.\d+$/);
  expect(at(development, 'image.tag')).toBe(tag);
  const images = podsOf(tools).flatMap(({ spec }) => spec.containers.map(({ image }) => image));
  expect(images).toEqual([`cockroachdb/cockroach:${tag}`]);
  expect(String(at(production, 'tls.copyCerts.image'))).toMatch(/^busybox:\d+\.\d+\.\d+$/);
});

test('the init job creates the database and each role that connects, none a superuser', () => {
  for (const [values, name] of [
    [development, 'minikube'],
    [production, 'production'],
  ] as const) {
    const users = at(values, 'init.provisioning.users') as { name: string; options: string[] }[];
    const [map] = ofKind<{ data: Record<string, string> }>(overlay(name), 'ConfigMap').filter(
      ({ metadata }) => metadata.name === 'database',
    );
    const urls = Object.values(map?.data ?? {}).map((address) => new URL(address));
    expect(users.map((user) => user.name).sort()).toEqual(urls.map((url) => url.username).sort());
    expect(users.length).toBeGreaterThan(3);
    for (const { options } of users) expect(options).toEqual(['LOGIN']);
    const databases = at(values, 'init.provisioning.databases') as {
      name: string;
      owners: string[];
    }[];
    expect(databases.map(({ name }) => `/${name}`)).toEqual([
      ...new Set(urls.map((url) => url.pathname)),
    ]);
    expect(databases.flatMap(({ owners }) => owners)).toEqual(['kassa_migrate']);
    const mode = at(values, 'tls.enabled') ? 'verify-full' : 'disable';
    expect(urls.map((url) => url.searchParams.get('sslmode'))).toEqual(urls.map(() => mode));
  }
});

test("the overlay's authority issues the certificates of the database's nodes", () => {
  const issuer = at(production, 'tls.certs.certManagerIssuer') as Record<string, unknown>;
  const found = ofKind<{ spec: { ca?: { secretName: string } } }>(
    overlay('production'),
    'Issuer',
  ).find(({ metadata }) => metadata.name === issuer.name);
  expect(found?.spec.ca?.secretName).toBe(String(at(production, 'tls.certs.caSecret')));
  expect(issuer.isSelfSignedIssuer).toBe(false);
  const mounted = podsOf(tools).flatMap(({ spec }) => spec.volumes ?? []);
  const root = String(at(production, 'tls.certs.clientRootSecret'));
  expect(mounted.flatMap(({ secret }) => secret?.secretName ?? [])).toEqual([root]);
});

test('the ServiceMonitor of the database selects the Service that the values label', () => {
  const monitors = ofKind<Monitor>(overlay('production'), 'ServiceMonitor');
  const monitor = monitors.find(({ metadata }) => metadata.name === 'cockroachdb')?.spec;
  const labels = at(production, 'service.discovery.labels') as Record<string, string>;
  const given = merge({ 'app.kubernetes.io/name': 'cockroachdb' }, labels);
  const chosen = { ...monitor?.selector.matchLabels, 'app.kubernetes.io/instance': undefined };
  for (const [key, value] of Object.entries(chosen)) if (value) expect(given[key]).toBe(value);
  expect(monitor?.selector.matchLabels.metrics).toBe('nodes');
  const node = String(at(production, 'tls.certs.nodeSecret'));
  expect(monitor?.endpoints[0]?.tlsConfig?.ca.secret.name).toBe(node);
});
interface Monitor {
  spec: {
    selector: { matchLabels: Record<string, string> };
    endpoints: { tlsConfig?: { ca: { secret: { name: string } } } }[];
  };
}

test('load from inside the cluster goes to the Service of the release that is installed', () => {
  const objects = built.get('stress-test/kubernetes') ?? [];
  const maps = ofKind<{ data: Record<string, string> }>(objects, 'ConfigMap');
  const hosts = maps.flatMap(({ data }) => data.TARGET_HOST ?? []);
  expect(hosts).toEqual(['http://traefik.traefik.svc.cluster.local']);
  expect(at(traefik.values, 'ports.web.exposedPort')).toBe(80);
  expect(settings.HOST).toBe('0.0.0.0');
});
