/** The Kubernetes manifests: valid, tight, and of one mind with the product and with themselves. */

import { expect, test } from 'bun:test';
import { need } from '../support/need.ts';
import {
  built,
  complaints,
  locust,
  OVERLAYS,
  overlay,
  product,
  settings,
  tools,
} from './manifests/all.ts';
import { forgotten } from './manifests/configuration.ts';
import { deadServices, podsAtMost, routesOf } from './manifests/links.ts';
import { reachable } from './manifests/network.ts';
import { danglingReferences, looseEnds } from './manifests/pods.ts';
import {
  type Manifest,
  nameOf,
  ofKind,
  parseYaml,
  pathsOf,
  readYaml,
  run,
  text,
} from './manifests/read.ts';
import { unknownKeys, wrongValues } from './manifests/schema.ts';
import { at, INSTALLS, readValues } from './manifests/values.ts';

test('every YAML file of the manifests and values can be read', async () => {
  const paths = ['k8s/**/*.yaml', 'helm-config/*.yaml', 'stress-test/kubernetes/*.yaml'];
  const read = await Promise.all(paths.flatMap(pathsOf).map((path) => readYaml(path)));
  expect(read.length).toBeGreaterThan(25);
  expect(read.filter((documents) => documents.length === 0)).toEqual([]);
});

test('every object is what its kind takes: values', async () => {
  expect(await wrongValues([...built.values(), tools].flat())).toEqual([]);
});

test('every object is what its kind takes: keys', async () => {
  expect(await unknownKeys([...built.values(), tools].flat())).toEqual([]);
});

test.each(OVERLAYS)('nothing is wrong with %s', (name) => {
  expect(complaints(overlay(name))).toEqual([]);
  expect(routesOf(overlay(name))).toEqual(product.routes);
});

test('the load test and the tools keep the same rules', () => {
  expect([...looseEnds(locust), ...danglingReferences(locust), ...deadServices(locust)]).toEqual(
    [],
  );
  expect(looseEnds(tools)).toEqual([]);
});

test('who may speak with whom', () => {
  const services = Object.entries(product.ports);
  const expected = [
    ...services.flatMap(([name, port]) => [
      `traefik → ${name} ${port}`,
      `prometheus → ${name} ${settings.METRICS_PORT}`,
    ]),
    ...[...Object.keys(product.ports), 'migrate', 'audit', 'init', 'cockroachdb'].map(
      (name) => `${name} → cockroachdb 26257`,
    ),
    ...[...Object.keys(product.ports), 'migrate', 'audit', 'init', 'cockroachdb', 'stranger'].map(
      (name) => `${name} → dns 53`,
    ),
    'prometheus → cockroachdb 8080',
  ];
  expect(reachable(overlay('minikube'))).toEqual(expected.sort());
  expect(reachable(overlay('production'))).toEqual(
    [...expected, 'cockroachdb → internet 443'].sort(),
  );
  const shell = reachable([...overlay('production'), ...tools]).filter((way) =>
    way.startsWith('root'),
  );
  expect(shell).toEqual(['root-shell → cockroachdb 26257', 'root-shell → dns 53']);
});

test('every variable of the configuration is set, or left alone on purpose', async () => {
  expect(forgotten(OVERLAYS.map(overlay), await text('k8s/base/kustomization.yaml'))).toEqual([]);
  expect(forgotten(OVERLAYS.map(overlay), '').length).toBeGreaterThan(5); // it binds
});

test('all pods at their most stay below 4 connections for each vCPU of the database', async () => {
  const { files } = INSTALLS[1] ?? { files: [] };
  const values = await readValues(files);
  const cpus = Number(at(values, 'statefulset.resources.limits.cpu'));
  const nodes = Number(at(values, 'statefulset.replicas'));
  const each = Number(settings.LANES) + Number(settings.READ_POOL_SIZE) + 1; // while rows are held
  expect(podsAtMost(overlay('production')) * each).toBeLessThanOrEqual(4 * cpus * nodes);
});

const kubectl = need('kubectl', 'https://kubernetes.io/docs/tasks/tools');
test.skipIf(!kubectl)('kustomize builds the same', async () => {
  for (const [folder, objects] of built) {
    const { code, out, err } = await run([kubectl ?? '', 'kustomize', folder]);
    expect([code, err]).toEqual([0, '']);
    const theirs = withoutHashes(out, objects);
    expect(sorted(parseYaml<Manifest>(folder, theirs))).toEqual(sorted(objects));
  }
});

/** kustomize gives the ConfigMaps that it makes a hash of their content; here they have none. */
function withoutHashes(rendered: string, objects: Manifest[]): string {
  const names = ofKind(objects, 'ConfigMap').map(({ metadata }) => metadata.name);
  return rendered.replaceAll(
    new RegExp(`name: (${names.join('|')})-[a-z0-9]{10}$`, 'gm'),
    'name: $1',
  );
}
const sorted = (objects: Manifest[]) =>
  structuredClone(objects).sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
