/** Authentication in Kubernetes: off on a laptop, on in production, with tokens if a component is there. */
import { expect, test } from 'bun:test';
import { mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { TOP } from '../support/process.ts';
import { built, configOf, environmentOf, LOCUST, OVERLAYS, overlay } from './manifests/all.ts';
import { build } from './manifests/build.ts';
import { kubectl, rendered, sorted } from './manifests/kubectl.ts';
import { reachable } from './manifests/network.ts';
import { find, ofKind, podsOf, text } from './manifests/read.ts';
import { violationsOf } from './manifests/schema.ts';

const COMPONENT = 'k8s/components/tokens';
const production = overlay('production');
const tokened = await build(COMPONENT, structuredClone(production));

test.each(OVERLAYS)('%s: every pod says whether callers need a key', (name) => {
  const objects = overlay(name);
  const deployments = ofKind(objects, 'Deployment');
  expect(deployments.length).toBe(5);
  for (const { spec } of deployments) {
    const config = configOf(environmentOf(spec.template.spec.containers[0], objects));
    expect(config.AUTH).toBe(name === 'minikube' ? 'off' : 'on');
    expect(config.METRICS_PORT).not.toBe(config.PORT); // so the port of the paths serves no metrics
    expect([config.AUTH_JWKS, config.AUTH_ISSUER]).toEqual([undefined, undefined]);
  }
});

test('the first key is made in a pod whose role may, with the entry point of the image', async () => {
  const [, entry = '[]'] = (await text('deploy/Dockerfile')).match(/^ENTRYPOINT (.+)$/m) ?? [];
  const command = [...JSON.parse(entry), 'keys', 'create', '--id', 'ops', '--scopes', 'admin'];
  for (const page of ['deploy/cluster', 'deploy/README.md', 'docs/authentication.md']) {
    const [line = ''] =
      (await text(page)).replaceAll(/\\+\n */g, '').match(/kubectl .*keys create.*/) ?? [];
    expect(line).toContain(` -n kassa exec deployment/webhooks -- ${command.join(' ')}`);
  }
  const pod = find(production, 'Deployment', 'webhooks').spec.template.spec;
  const { DATABASE_URL } = environmentOf(pod.containers[0], production);
  expect(DATABASE_URL).toContain('//kassa_webhooks@');
});

test('Locust goes with a key if there is a Secret of that name, and without it otherwise', async () => {
  const key = { name: 'locust-key', key: 'KASSA_KEY', optional: true };
  for (const { spec } of podsOf(built.get(LOCUST) ?? [])) {
    const env = spec.containers[0].env.find(({ name }: { name: string }) => name === 'KASSA_KEY');
    expect(env.valueFrom).toEqual({ secretKeyRef: key });
  }
  const page = await text(`${LOCUST}/README.md`);
  expect(page).toContain('secret generic locust-key --from-file=KASSA_KEY=/dev/stdin');
});

test('the component adds the way of all that check tokens to a public issuer, and nothing else', async () => {
  expect((await Promise.all(tokened.map(violationsOf))).flat()).toEqual([]);
  const before = reachable(production);
  const added = reachable(tokened).filter((way) => !before.includes(way));
  const names = ['console', 'order', 'payment', 'stock']; // webhooks get there anyway
  const ways = names.flatMap((name) => [`${name} → internet 443`, `${name} → internet6 443`]);
  expect(added).toEqual(ways.sort());
  expect(tokened.length).toBe(production.length + 1);
  const blocksOf = (name: string) => find(tokened, 'NetworkPolicy', name).spec.egress;
  expect(blocksOf('tokens')).toEqual(blocksOf('webhooks-internet'));
});

test('with the component every pod has an issuer', () => {
  for (const { spec } of ofKind(tokened, 'Deployment')) {
    const config = configOf(environmentOf(spec.template.spec.containers[0], tokened));
    expect([config.AUTH, config.AUTH_AUDIENCE]).toEqual(['on', 'kassa']);
    expect(new URL(config.AUTH_JWKS ?? '').origin).toBe(new URL(config.AUTH_ISSUER ?? '').origin);
  }
});

test.skipIf(!kubectl)('kubectl renders the same objects with it', async () => {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'kassa-tokens-')));
  const from = relative(folder, TOP);
  try {
    const kustomization = {
      apiVersion: 'kustomize.config.k8s.io/v1beta1',
      kind: 'Kustomization',
      resources: [join(from, 'k8s/overlays/production')],
      components: [join(from, COMPONENT)],
    };
    await Bun.write(join(folder, 'kustomization.yaml'), JSON.stringify(kustomization));
    expect(rendered(folder)).toEqual(sorted(tokened));
  } finally {
    await rm(folder, { recursive: true });
  }
});
