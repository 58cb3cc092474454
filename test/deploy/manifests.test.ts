/** The Kubernetes manifests are valid, restrictive, and consistent with the product. */

import { expect, test } from 'bun:test';
import {
  built,
  complaints,
  kubectl,
  locust,
  OVERLAYS,
  overlay,
  product,
  render,
  settings,
  tools,
} from './manifests/all.ts';
import { forgotten } from './manifests/configuration.ts';
import { deadServices, podsAtMost, routesOf } from './manifests/links.ts';
import { reachable } from './manifests/network.ts';
import { danglingReferences, looseEnds } from './manifests/pods.ts';
import { type Manifest, pathsOf, readYaml, text } from './manifests/read.ts';
import { violationsOf } from './manifests/schema.ts';
import { at, INSTALLS, readValues } from './manifests/values.ts';

test('every YAML file of the manifests and values parses', async () => {
  const paths = ['k8s/**/*.yaml', 'helm-config/*.yaml', 'stress-test/kubernetes/*.yaml'];
  const read = await Promise.all(paths.flatMap(pathsOf).map((path) => readYaml(path)));
  expect(read.length).toBeGreaterThan(25);
  expect(read.filter((documents) => documents.length === 0)).toEqual([]);
});

test('every object satisfies the schema of its kind', async () => {
  const found = await Promise.all([...built.values(), tools].flat().map(violationsOf));
  expect(found.length).toBeGreaterThan(50);
  expect(found.flat()).toEqual([]);
});

test.each(OVERLAYS)('%s satisfies every rule', (name) => {
  expect(complaints(overlay(name))).toEqual([]);
  expect(routesOf(overlay(name))).toEqual(product.routes);
});

test('the load test and the tools satisfy the same rules', () => {
  expect([...looseEnds(locust), ...danglingReferences(locust), ...deadServices(locust)]).toEqual(
    [],
  );
  expect(looseEnds(tools)).toEqual([]);
});

test('the network policies allow exactly the connections that are needed', () => {
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

test('every variable of the configuration is set, or its omission is explained', async () => {
  expect(forgotten(OVERLAYS.map(overlay), await text('k8s/base/kustomization.yaml'))).toEqual([]);
  expect(forgotten(OVERLAYS.map(overlay), '').length).toBeGreaterThan(5); // the rule finds omissions
});

test('all pods at their most stay below 4 connections for each vCPU of the database', async () => {
  const { files } = INSTALLS[1] ?? { files: [] };
  const values = await readValues(files);
  const cpus = Number(at(values, 'statefulset.resources.limits.cpu'));
  const nodes = Number(at(values, 'statefulset.replicas'));
  const each = Number(settings.LANES) + Number(settings.READ_POOL_SIZE) + 1; // while rows are held
  expect(podsAtMost(overlay('production')) * each).toBeLessThanOrEqual(4 * cpus * nodes);
});

test.skipIf(!kubectl)('kubectl renders the same objects', async () => {
  for (const [folder, objects] of built) {
    const theirs = await render(kubectl ?? '', folder);
    expect([folder, theirs.map(keyOf).sort()]).toEqual([folder, objects.map(keyOf).sort()]);
    for (const object of theirs) {
      expect(objects.find((ours) => keyOf(ours) === keyOf(object))).toEqual(object);
    }
  }
});

const keyOf = ({ kind, metadata }: Manifest) => `${kind} ${metadata.namespace} ${metadata.name}`;
