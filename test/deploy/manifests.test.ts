/** The Kubernetes manifests are valid, and connect exactly the pods that have to be connected. */
import { expect, test } from 'bun:test';
import { variables } from '../../apps/runtime/variables.ts';
import { refusalOf } from '../../apps/webhooks/target.ts';
import {
  built,
  configOf,
  deployed,
  environmentOf,
  OVERLAYS,
  overlay,
  published,
  services,
  tools,
} from './manifests/all.ts';
import { kubectl, rendered, sorted } from './manifests/kubectl.ts';
import { isWithin, reachable } from './manifests/network.ts';
import { find, type Manifest, ofKind, pathsOf, podsOf, readYaml, text } from './manifests/read.ts';
import { violationsOf } from './manifests/schema.ts';
import { production as values } from './manifests/values.ts';

const production = overlay('production');
const orderOf = (objects: Manifest[]) => find(objects, 'Deployment', 'order').spec.template.spec;
const config = configOf(environmentOf(orderOf(production).containers[0], production));

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

const wrong: [what: string, edit: (objects: Manifest[]) => void, said: string][] = [
  [
    'a missing field',
    (objects) => delete find(objects, 'Deployment', 'order').spec.selector,
    'Deployment order: data/spec must have required property selector',
  ],
  [
    'a wrong value',
    (objects) => {
      find(objects, 'HTTPRoute', 'kassa').spec.rules[0].matches[0].path.type = 'Prefix';
    },
    '/spec/rules/0/matches/0/path/type',
  ],
  [
    'an unknown key',
    (objects) => (orderOf(objects).containers[0].imagePullPolice = 'Always'),
    'Deployment order: unknown key spec.template.spec.containers.0.imagePullPolice',
  ],
  ['an unknown kind', (objects) => objects.push(STRANGER), 'Pod a: no schema for v2 Pod'],
];
const STRANGER: Manifest = { apiVersion: 'v2', kind: 'Pod', metadata: { name: 'a' } };
test.each(wrong)('the schemas catch %s', async (_, edit, said) => {
  const objects = structuredClone(overlay('production-gateway-api'));
  edit(objects);
  const found = await Promise.all(objects.map(violationsOf));
  expect(found.flat()).toEqual([expect.stringContaining(said)]);
});

const names = services.map(({ name }) => name);
const connections = [
  ...published.map(({ name, port }) => `traefik → ${name} ${port}`),
  ...names.map((name) => `prometheus → ${name} ${config.METRICS_PORT}`),
  ...names.map((name) => `console → ${name} ${config.METRICS_PORT}`),
  ...[...deployed, 'init', 'cockroachdb'].map((name) => `${name} → cockroachdb 26257`),
  ...[...deployed, 'init', 'cockroachdb', 'stranger'].map((name) => `${name} → dns 53`),
  'prometheus → cockroachdb 8080',
  ...['internet', 'internet6'].map((name) => `webhooks → ${name} 443`),
];

test('the network policies allow exactly the connections that are needed', () => {
  const toTheInternet = 'cockroachdb → internet 443';
  const shell = ['root-shell → cockroachdb 26257', 'root-shell → dns 53'];
  expect(reachable(overlay('minikube'))).toEqual(connections.toSorted());
  expect(reachable([...production, ...tools])).toEqual(
    [...connections, ...shell, toTheInternet].sort(),
  );
});

const DATABASE = 'order → cockroachdb 26257';
const ANY = { namespaceSelector: {} };
const WORLD = { ipBlock: { cidr: '0.0.0.0/0' } };
type Edit = (spec: Manifest['spec']) => unknown;
const ways: [policy: string, way: string, open: boolean, edit: Edit][] = [
  ['default-deny', 'elsewhere → stranger 80', true, (of) => (of.policyTypes = ['Egress'])],
  ['services', 'traefik → order 8001', false, (of) => (of.ingress[0].from = [{ podSelector: {} }])],
  ['services', 'traefik → cockroachdb 8080', true, (of) => (of.podSelector = {})],
  ['services', 'traefik → order 9000', true, (of) => (of.ingress[0].ports[0].port = 'metrics')],
  ['services', 'traefik → webhooks 8004', true, (of) => (of.podSelector.matchExpressions = [])],
  ['services', 'console → order 9000', false, (of) => (of.ingress[1].from.length = 1)],
  ['services', 'stranger → order 9000', false, (of) => (of.ingress[1].from[1] = ANY)],
  ['console-metrics', 'console → order 8001', false, (of) => (of.egress[0].ports[0].port = 'http')],
  ['webhooks-metrics', 'prometheus → webhooks 9000', false, (of) => (of.ingress = [])],
  ['services', 'prometheus → order 9000', false, (of) => (of.ingress[1].ports = [])],
  ['database', 'traefik → cockroachdb 26257', true, (of) => (of.ingress[0].from = [ANY])],
  ['database', DATABASE, false, (of) => (of.podSelector.matchLabels.a = 'b')],
  ['database-clients', DATABASE, false, (of) => (of.egress[0].ports[0].port = 8080)],
  ['database-peers', 'init → cockroachdb 26257', false, (of) => (of.egress = [])],
  [
    'webhooks-internet',
    'webhooks → metadata 443',
    true,
    (of) => delete of.egress[0].to[0].ipBlock.except,
  ],
  [
    'webhooks-internet',
    'webhooks → internet 5432',
    true,
    (of) => (of.egress[0].ports[0].port = 5432),
  ],
  ['webhooks-internet', 'order → internet 443', true, (of) => (of.podSelector = {})],
  ['dns', 'order → kube-system 443', false, (of) => delete of.egress[0].to[0].podSelector],
  ['dns', 'order → dns 53', false, (of) => (of.egress[0].to = [WORLD])],
];
test.each(ways)(
  'the evaluation notices a change of %s: %s is open: %p',
  (policy, way, open, edit) => {
    const objects = structuredClone(production);
    edit(find(objects, 'NetworkPolicy', policy).spec);
    expect(reachable(objects).includes(way)).toBe(open);
  },
);

test('webhooks reach only addresses to which the service would send', () => {
  const { spec } = find(production, 'NetworkPolicy', 'webhooks-internet');
  type Peer = { ipBlock: Parameters<typeof isWithin>[0] };
  const isOpen = (address: string) =>
    spec.egress[0].to.some(({ ipBlock }: Peer) => isWithin(ipBlock, address));
  for (const address of [...PUBLIC, ...INSIDE]) {
    const url = `https://${address.includes(':') ? `[${address}]` : address}/`;
    const is_public = PUBLIC.includes(address);
    const found = { address, open: isOpen(address), sent: refusalOf(url, []) === undefined };
    expect(found).toEqual({ address, open: is_public, sent: is_public });
  }
});
const PUBLIC = ['1.1.1.1', '9.255.255.255', '172.15.0.1', '172.32.0.1', '223.255.255.255'];
PUBLIC.push('2001:200::1', '2606:4700::1111', '2a00:1450::8a');
/** Both ends of each block that leads into a cluster, or to its machines. */
const INSIDE = ['0.0.0.0', '10.0.0.0', '10.255.255.255', '100.64.0.0', '100.127.255.255'];
INSIDE.push('127.0.0.1', '127.255.255.255', '169.254.0.0', '169.254.169.254', '169.254.255.255');
INSIDE.push('172.16.0.0', '172.31.255.255', '192.168.0.0', '192.168.255.255', '192.0.0.192');
INSIDE.push('198.18.0.0', '224.0.0.1', '240.0.0.1', '255.255.255.255');
INSIDE.push('::', '::1', '::ffff:10.0.0.1', '64:ff9b::a00:1', 'fc00::1', 'fd00:ec2::254');
INSIDE.push('fe80::1', 'fec0::1', 'ff02::1', '2001::a00:1', '2002:a00:1::1', '2001:db8::1');
INSIDE.push('::2', '::7f00:1', '1fff::1', '4000::1');

test('every variable of the configuration is set, or its omission is explained', async () => {
  const set = OVERLAYS.map(overlay).flatMap((objects) =>
    podsOf(objects).flatMap(({ spec }) => Object.keys(environmentOf(spec.containers[0], objects))),
  );
  const comments = (await text('k8s/base/kustomization.yaml')).match(/^\s*#.*$/gm) ?? [];
  const explained: string[] = comments.join(' ').match(/\b[A-Z][A-Z_]+\b/g) ?? [];
  const open = Object.keys(variables.shape).filter((name) => !set.includes(name));
  expect(open.length).toBeGreaterThan(5);
  expect(open.filter((name) => !explained.includes(name))).toEqual([]);
});

test('all pods at their most stay below 4 connections for each vCPU of the database', async () => {
  const page = (await text('docs/operating.md')).replaceAll('\n', ' ');
  const { replicas, resources } = values.statefulset;
  const cpus = Number(resources.limits.cpu) * replicas;
  const { LANES, READ_POOL_SIZE } = config;
  const scaled = ofKind(production, 'HorizontalPodAutoscaler').map(
    ({ spec }) => spec.maxReplicas * (Number(LANES) + READ_POOL_SIZE + 1), // while rows are held
  );
  const fixed = ofKind(production, 'Deployment')
    .filter(({ spec }) => spec.replicas !== undefined)
    .map(({ metadata, spec }) => {
      const audit = metadata.name === 'console' ? 1 : 0;
      return spec.replicas * (READ_POOL_SIZE + audit); // no transactions
    });
  expect(fixed).toHaveLength(2);
  const sum = [...scaled, ...fixed].reduce((total, each) => total + each, 0);
  expect(sum).toBeLessThanOrEqual(4 * cpus);
  expect(page).toContain(` = ${sum}, of `);
});

test.skipIf(!kubectl)('kubectl renders the same objects', () => {
  for (const [folder, objects] of built) expect(rendered(folder)).toEqual(sorted(objects));
});
