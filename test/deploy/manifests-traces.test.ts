/** The component that switches traces on in Kubernetes: it is off, and opens one way. */
import { expect, test } from 'bun:test';
import { mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { TOP } from '../support/process.ts';
import { configOf, environmentOf, OVERLAYS, overlay, services } from './manifests/all.ts';
import { build } from './manifests/build.ts';
import { kubectl, rendered, sorted } from './manifests/kubectl.ts';
import { reachable } from './manifests/network.ts';
import { find, ofKind } from './manifests/read.ts';
import { violationsOf } from './manifests/schema.ts';

const COMPONENT = 'k8s/components/traces';
const ENDPOINT = 'OTEL_EXPORTER_OTLP_ENDPOINT';
const production = overlay('production');
const withTraces = (name: string) => build(COMPONENT, structuredClone(overlay(name)));
const traced = await withTraces('production');

test.each(OVERLAYS)('%s has no traces, and no way to a collector', (name) => {
  const objects = overlay(name);
  expect(find(objects, 'ConfigMap', 'kassa').data).not.toHaveProperty(ENDPOINT);
  expect(reachable(objects).filter((way) => way.includes('collector'))).toEqual([]);
});

test('the component adds the way of the services to a collector, and nothing else', async () => {
  expect((await Promise.all(traced.map(violationsOf))).flat()).toEqual([]);
  const before = reachable(production);
  const added = reachable(traced).filter((way) => !before.includes(way));
  expect(added).toEqual(services.map(({ name }) => `${name} → collector 4318`).sort());
  expect(traced.length).toBe(production.length + 1);
});

test.each(services)('$name sends a share of its traces to where the policy leads', ({ name }) => {
  const pod = find(traced, 'Deployment', name).spec.template.spec;
  const config = configOf(environmentOf(pod.containers[0], traced));
  const { hostname, port } = new URL(config[ENDPOINT] ?? '');
  const [policy] = ofKind(traced, 'NetworkPolicy').filter(({ metadata }) => {
    return metadata.name === 'traces';
  });
  const [{ to, ports }] = policy?.spec.egress ?? [];
  const [, namespace = ''] = hostname.split('.');
  expect(to).toEqual([
    { namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': namespace } } },
  ]);
  expect(ports).toEqual([{ port: Number(port) }]);
  expect(config.OTEL_TRACES_SAMPLER).toBe('parentbased_traceidratio');
  expect(config.OTEL_TRACES_SAMPLER_ARG).toBeWithin(0.001, 0.1);
});

test.skipIf(!kubectl)('kubectl renders the same objects of each overlay with it', async () => {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'kassa-traces-')));
  const from = relative(folder, TOP);
  try {
    for (const name of OVERLAYS) {
      const kustomization = {
        apiVersion: 'kustomize.config.k8s.io/v1beta1',
        kind: 'Kustomization',
        resources: [join(from, 'k8s/overlays', name)],
        components: [join(from, COMPONENT)],
      };
      await Bun.write(join(folder, 'kustomization.yaml'), JSON.stringify(kustomization));
      expect(rendered(folder)).toEqual(sorted(await withTraces(name)));
    }
  } finally {
    await rm(folder, { recursive: true });
  }
});
