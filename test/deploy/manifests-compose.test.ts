/** compose.yaml is valid, has limits, and agrees with the product and with Kubernetes. */
import { expect, test } from 'bun:test';
import { ROLES } from '../../db/maintenance/roles.ts';
import { product, tools } from './manifests/all.ts';
import {
  type Compose,
  looseCompose,
  misconfiguredCompose,
  unset,
  upstreams,
  usersOf,
} from './manifests/compose.ts';
import { podsOf } from './manifests/pods.ts';
import { readYaml, text } from './manifests/read.ts';
import { violations } from './manifests/values.ts';

const [compose = { services: {} }] = await readYaml<Compose>('compose.yaml');
const schema = JSON.parse(await text('test/deploy/data/compose-spec.schema.json'));
const complaints = (file: Compose): string[] => [
  ...looseCompose(file),
  ...misconfiguredCompose(file, product),
];

test('compose.yaml satisfies the schema of Compose and our rules', () => {
  expect(violations(compose, schema)).toEqual([]);
  expect(complaints(compose)).toEqual([]);
});

test('its gateway forwards to the ports of the services, and it has every part of the image', () => {
  const expected = Object.entries(product.ports).map(([name, port]) => `${name}:${port}`);
  expect(upstreams(compose)).toEqual(expected.sort());
  for (const name of product.parts) expect(Object.keys(compose.services)).toContain(name);
});

test('the init script creates each SQL user that connects', async () => {
  const script = await text('deploy/cockroach-init.sh');
  const made = [...script.matchAll(/^CREATE USER IF NOT EXISTS (\w+);$/gm)].map(([, user]) => user);
  expect(made.sort()).toEqual(usersOf(compose));
  expect(usersOf(compose)).toEqual(Object.keys(ROLES).sort());
});

test('it runs the same CockroachDB as Kubernetes', () => {
  const images = Object.values(compose.services).map(({ image }) => image);
  const theirs = podsOf(tools).flatMap(({ spec }) => spec.containers.map(({ image }) => image));
  expect([...new Set(images.filter((image) => image.startsWith('cockroachdb/')))]).toEqual(theirs);
});

test('a variable that is not set has the default of compose.yaml', () => {
  const [port = ''] = compose.services.gateway?.ports ?? [];
  expect([port.startsWith('$'), unset(port)]).toEqual([true, '127.0.0.1:8000:8000']);
});

const bad: [service: string, field: string, value: unknown, said: string][] = [
  ['order', 'image', 'kassa:latest', 'runs kassa:latest, which is not pinned'],
  ['order', 'deploy', {}, 'has no limit of memory'],
  ['order', 'depends_on', { nobody: {} }, 'waits for nobody'],
  ['order', 'networks', ['internet'], 'is in no network internet'],
  ['order', 'volumes', ['./deploy/none:/none'], 'mounts ./deploy/none, which is not there'],
  ['order', 'volumes', ['none:/none'], 'mounts none, which is not there'],
  ['order', 'ports', ['8001:8001'], 'shows 8001:8001 to the network'],
  ['order', 'user', '0:0', 'runs as another user'],
  ['order', 'command', ['orders'], 'runs orders, which the image does not have'],
  ['order', 'command', ['stock'], 'is stock under another name'],
  ['order', 'environment', { PROT: '1' }, 'sets PROT, which apps/runtime/config.ts does not have'],
  ['order', 'environment', { LANES: 'two' }, 'LANES must be a whole number from 1 to 64'],
  ['order', 'environment', { PORT: '8000' }, 'is not on port 8001'],
  ['order', 'environment', { METRICS_PORT: '8001', PORT: '8001' }, 'shows its metrics to all'],
  ['order', 'environment', { HOST: '127.0.0.1' }, 'listens to itself alone'],
  ['order', 'environment', { DATABASE_URL: 'postgres://root@roach1/kassa' }, 'order is root to'],
  ['audit', 'environment', { DATABASE_URL: 'postgres://root@roach1/kassa' }, 'audit is root to'],
  ['audit', 'environment', {}, 'audit is nobody to the store, not kassa_reader'],
  ['audit', 'command', ['adit'], 'runs adit, which the image does not have'],
  ['audit', 'restart', 'unless-stopped', 'is started again when it is done'],
  ['audit', 'healthcheck', {}, 'is asked for its health'],
  ['audit', 'profiles', [], 'is looked for at each start'],
  ['order', 'stop_grace_period', '10s', 'is killed less than 5 s after its drain'],
  ['order', 'healthcheck', { disable: true }, "does without the image's health check"],
];
test.each(bad)('the rules catch %s with %s %j', (service, field, value, said) => {
  const file = structuredClone(compose);
  Object.assign(file.services[service] ?? {}, { [field]: value });
  expect(complaints(file).join('\n')).toContain(said);
});

test('the schema catches an unknown key', () => {
  const services = { ...compose.services, more: { image: 'a:1', restrat: 'always' } };
  expect(violations({ ...compose, services }, schema).join()).toContain('/services/more');
});
