/** compose.yaml is valid, has limits, and agrees with the product and with Kubernetes. */
import { expect, test } from 'bun:test';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { ROLES } from '../../db/maintenance/roles.ts';
import { TOP } from '../support/process.ts';
import { configOf, expectMatch, PINNED, parts, roleOf, services, user } from './manifests/all.ts';
import { type Compose, readOne, text } from './manifests/read.ts';
import { production, violations } from './manifests/values.ts';

const compose = await readOne<Compose>('compose.yaml');
const schema = JSON.parse(await text('test/deploy/data/compose-spec.schema.json'));
const all = Object.entries(compose.services);

/** The value of `${NAME:-otherwise}` if NAME is not set. */
const unset = (value: string | number): string =>
  String(value).replaceAll(/\$\{[A-Z_]+(?::?-([^}]*))?\}/g, (_, otherwise) => otherwise ?? '');

test('compose.yaml satisfies the schema of Compose, which catches an unknown key', () => {
  expect(violations(compose, schema)).toEqual([]);
  const services = { ...compose.services, more: { image: 'a:1', restrat: 'always' } };
  expect(violations({ ...compose, services }, schema).join()).toContain('/services/more');
});

test.each(all)('%s is limited, local, and finds what it names', (_, service) => {
  expectMatch(service, {
    image: expect.stringMatching(PINNED),
    deploy: { resources: { limits: { memory: expect.any(String) } } },
  });
  const { depends_on = {}, networks = [], volumes = [], ports = [] } = service;
  expect(Object.keys(compose.services)).toEqual(expect.arrayContaining(Object.keys(depends_on)));
  expect(Object.keys(compose.networks)).toEqual(expect.arrayContaining(networks));
  for (const [source] of volumes.map((volume: string) => volume.split(':'))) {
    const there = source in compose.volumes || existsSync(join(TOP, source));
    expect([source, there]).toEqual([source, true]);
  }
  for (const port of ports) expect(unset(port)).toStartWith('127.0.0.1:');
});

function environmentOf(name: string): Record<string, string> {
  const given: Record<string, string | number> = compose.services[name].environment ?? {};
  return Object.fromEntries(Object.entries(given).map(([key, value]) => [key, unset(value)]));
}

test.each(parts)('%s runs under its name, as its role, with a valid configuration', (part) => {
  // Only the migration runs as root, since root is to own the tables.
  const role = part === 'migrate' ? 'root' : roleOf(part);
  expectMatch(compose.services[part], {
    image: 'kassa:local',
    command: [part],
    user: `${user}:${user}`,
  });
  const config = configOf(environmentOf(part));
  expect(config.DATABASE_URL).toBe(`postgres://${role}@haproxy:26257/kassa?sslmode=disable`);
});

test.each(services)('$name has ports of its own and time to drain', ({ name, port }) => {
  const { HOST, PORT, METRICS_PORT, DRAIN_MS } = configOf(environmentOf(name));
  expect([HOST, PORT]).toEqual(['0.0.0.0', port]);
  expect(METRICS_PORT).toBeWithin(1, 65_536);
  expect(METRICS_PORT).not.toBe(port);
  const { stop_grace_period, healthcheck } = compose.services[name] ?? {};
  expect(Number.parseInt(stop_grace_period ?? '', 10)).toBeGreaterThanOrEqual(DRAIN_MS / 1000 + 5);
  expect(healthcheck).toBeUndefined(); // the image's
  const upstream = environmentOf('gateway')[`KASSA_${name.toUpperCase()}`];
  expect(upstream).toBe(`${name}:${port} resolve`);
});

test('the image shows the port of each service, and asks each whether it is ready', async () => {
  const file = await text('deploy/Dockerfile');
  const ports = services.map(({ port }) => port);
  expect(file).toContain(`\nEXPOSE ${ports.join(' ')}\n`);
  expect(file).toContain(`[PORT] : [${ports.join(', ')}];`);
});

test('migration and audit end by themselves, and only an operator starts an audit', () => {
  const once = { restart: 'no', healthcheck: { disable: true } };
  expectMatch(compose.services.migrate, once);
  expectMatch(compose.services.audit, { ...once, profiles: ['tools'] });
  const ours = all.filter(([, { image }]) => image.startsWith('kassa:')).map(([name]) => name);
  expect(ours.sort()).toEqual(parts.toSorted());
});

test('the init script creates each SQL user that connects', async () => {
  const script = await text('deploy/cockroach-init.sh');
  const made = [...script.matchAll(/^CREATE USER IF NOT EXISTS (\w+);$/gm)].map(([, name]) => name);
  const roles = parts.filter((part) => part !== 'migrate').map(roleOf);
  expect(made.sort()).toEqual(roles.sort());
  expect(Object.keys(ROLES).sort()).toEqual(roles);
});

test('it runs the same CockroachDB as Kubernetes', () => {
  const images = all.map(([, { image }]) => image).filter((name) => /cockroach/.test(name));
  expect(new Set(images)).toEqual(new Set([`cockroachdb/cockroach:${production.image.tag}`]));
});
