/** The values for the Helm charts: known to the charts, and consistent with the manifests. */
import { expect, test } from 'bun:test';
import { built, LOCUST, overlay, roles, tools } from './manifests/all.ts';
import { find, pathsOf, podsOf, text } from './manifests/read.ts';
import {
  charts,
  development,
  faultsIn,
  INSTALLS,
  production,
  readValues,
  type Values,
  versionOf,
} from './manifests/values.ts';

test.each(INSTALLS)('$files are values that the chart $chart knows', async ({ chart, files }) => {
  expect(faultsIn(await readValues(files), chart)).toEqual([]);
});

test('every values file belongs to an installation', () => {
  const used = new Set(INSTALLS.flatMap(({ files }) => files));
  expect(pathsOf('helm-config/*.yaml')).toEqual(
    [...used].map((file) => `helm-config/${file}.yaml`).sort(),
  );
});

const selfSigner = { enabled: 'yes', caProvided: false };
const wrong: [values: Values, chart: keyof typeof charts, said: string][] = [
  [{ statefulset: { replica: 3 } }, 'cockroachdb', 'statefulset.replica is no key of the chart'],
  [{ tls: { certs: { certmanager: true } } }, 'cockroachdb', 'tls.certs.certmanager is no key'],
  [{ tls: { certs: { selfSigner } } }, 'cockroachdb', '/selfSigner/enabled must be boolean'],
  [{ deployment: { replicas: 'two' } }, 'traefik', '/replicas'],
  [{ deploiment: {} }, 'traefik', 'additional properties'],
];
test.each(wrong)('%j is caught', (values, chart, said) => {
  expect(faultsIn(values, chart).join()).toContain(said);
});

test('chart versions are written in one place', async () => {
  const paths = [...pathsOf('deploy/{minikube,cluster}'), ...pathsOf('helm-config/*.yaml')];
  for (const chart of ['cockroachdb', 'traefik']) {
    const version = await versionOf(chart);
    for (const path of paths) expect(await text(path)).not.toContain(version);
  }
});

test('one version of CockroachDB everywhere', () => {
  const { tag } = production.image;
  expect(tag).toMatch(/^v\d+\.\d+\.\d+$/);
  expect(development.image.tag).toBe(tag);
  const [shell] = podsOf(tools);
  expect(shell?.spec.containers[0].image).toBe(`cockroachdb/cockroach:${tag}`);
  expect(production.tls.copyCerts.image).toMatch(/^busybox:\d+\.\d+\.\d+$/);
});

test('the init job creates the database and each role that connects, none a superuser', () => {
  const users = roles.map((name) => ({ name, options: ['LOGIN'] }));
  for (const { init } of [development, production]) {
    const { provisioning } = init;
    expect(provisioning.users.toSorted(byName)).toEqual(users.toSorted(byName));
    expect(provisioning.databases).toMatchObject([{ name: 'kassa', owners: ['kassa_migrate'] }]);
  }
  expect([development.tls.enabled, production.tls.enabled]).toEqual([false, true]);
});
const byName = (a: { name: string }, b: { name: string }) => (a.name < b.name ? -1 : 1);

test("the overlay's authority issues the certificates of the database's nodes", () => {
  const { certManagerIssuer, caSecret, clientRootSecret } = production.tls.certs;
  const issuer = find(overlay('production'), 'Issuer', certManagerIssuer.name);
  expect(issuer.spec.ca.secretName).toBe(caSecret);
  expect(certManagerIssuer.isSelfSignedIssuer).toBe(false);
  expect(podsOf(tools)[0]?.spec.volumes[0].secret.secretName).toBe(clientRootSecret);
});

test('load from inside the cluster goes to the Service of the release that is installed', () => {
  const { data } = find(built.get(LOCUST) ?? [], 'ConfigMap', 'locust-settings');
  expect(data?.TARGET_HOST).toBe('http://traefik.traefik.svc.cluster.local');
  expect(charts.traefik.values.ports.web.exposedPort).toBe(80);
});
