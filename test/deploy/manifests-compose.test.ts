/** compose.yaml is valid, has limits, and agrees with the product and with Kubernetes. */
import { expect, test } from 'bun:test';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { ROLES } from '../../db/maintenance/roles.ts';
import { TOP } from '../support/process.ts';
import {
  CONSOLE_PORT,
  configOf,
  expectMatch,
  PINNED,
  parts,
  roleOf,
  roles,
  services,
  user,
} from './manifests/all.ts';
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
    ...(part === 'keys' ? { entrypoint: [...ENTRY, 'keys'] } : { command: [part] }),
    user: `${user}:${user}`,
  });
  const config = configOf(environmentOf(part));
  expect(config.DATABASE_URL).toBe(`postgres://${role}@haproxy:26257/kassa?sslmode=disable`);
});

/** The image's. `docker compose run --rm keys …` replaces the command, so its entry point names it. */
const [, entry = '[]'] = (await text('deploy/Dockerfile')).match(/^ENTRYPOINT (.+)$/m) ?? [];
const ENTRY: string[] = JSON.parse(entry);

test('services and console let everybody in unless AUTH is set, which warns of nothing', () => {
  for (const name of [...services.map(({ name }) => name), 'console']) {
    const { environment } = compose.services[name] ?? {};
    expect([name, environment.AUTH]).toEqual([name, `\${AUTH:-off}`]);
    expect(configOf(environmentOf(name)).AUTH).toBe('off');
    // The services are behind the gateway, which says who calls. The console is not.
    const trusted = configOf(environmentOf(name)).TRUSTED_PROXIES;
    expect([name, trusted === '']).toEqual([name, name === 'console']);
    for (const variable of ['AUTH_JWKS', 'AUTH_ISSUER', 'AUTH_AUDIENCE', 'AUTH_ALGORITHMS']) {
      expect([variable, environment[variable]]).toEqual([variable, `\${${variable}:-}`]);
    }
  }
});

test('a command that the pages name makes a key, which no log keeps', async () => {
  const { command, logging, profiles, restart } = compose.services.keys;
  expect([command, logging, profiles, restart]).toEqual([
    undefined,
    { driver: 'none' },
    ['tools'],
    'no',
  ]);
  for (const page of ['compose.yaml', 'docs/running.md', 'docs/authentication.md']) {
    expect(await text(page)).toContain('docker compose run --rm keys create --scopes admin');
  }
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

test('the console reads the metrics of each service, and no gateway leads to it', () => {
  const config = configOf(environmentOf('console'));
  expect(config.PORT).toBe(CONSOLE_PORT);
  const port = configOf(environmentOf('order')).METRICS_PORT;
  expect(config.CONSOLE_TARGETS).toBe(services.map(({ name }) => `${name}:${port}`).join());
  const { networks, ports } = compose.services.console;
  for (const { name } of services) expect(compose.services[name].networks).toContain(networks[0]);
  expect([networks, ports.map(unset)]).toEqual([
    ['store'],
    [`127.0.0.1:${CONSOLE_PORT}:${CONSOLE_PORT}`],
  ]);
  expect(config.ALLOWED_HOSTS).toBe('.localhost');
  expect(Object.values(environmentOf('gateway')).join(' ')).not.toContain('console');
});

test('the image shows the port of each service, and asks each whether it is ready', async () => {
  const file = await text('deploy/Dockerfile');
  const ports = [...services.map(({ port }) => port), CONSOLE_PORT];
  expect(file).toContain(`\nEXPOSE ${ports.join(' ')}\n`);
  expect(file).toContain(`[PORT] : [${ports.join(', ')}];`);
});

test('traces go to Jaeger if an address is given, and Jaeger reaches no store and no gateway', async () => {
  const { jaeger, prometheus, grafana } = compose.services;
  const [head = ''] = (await text('compose.yaml')).split('\nname: ');
  expect(head).toContain('OTEL_EXPORTER_OTLP_ENDPOINT=http://jaeger:4318 docker compose');
  for (const { name } of services) {
    const { environment, networks, depends_on } = compose.services[name] ?? {};
    for (const variable of ['ENDPOINT', 'SAMPLER', 'SAMPLER_ARG']) {
      const its = `OTEL_${variable === 'ENDPOINT' ? 'EXPORTER_OTLP' : 'TRACES'}_${variable}`;
      expect([its, environment[its]]).toEqual([its, `\${${its}:-}`]);
    }
    expect(configOf(environmentOf(name)).OTEL_EXPORTER_OTLP_ENDPOINT).toBeUndefined();
    expect(networks).toContain('traces');
    expect(Object.keys(depends_on)).not.toContain('jaeger');
  }
  expectMatch(jaeger, {
    profiles: prometheus.profiles,
    read_only: true,
    cap_drop: ['ALL'],
    security_opt: ['no-new-privileges:true'],
    user: expect.stringMatching(/^[1-9]\d*:[1-9]\d*$/),
    networks: ['traces', 'monitoring'],
    ports: prometheus.ports.map((port: string) => port.replaceAll('9090', '16686')),
  });
  const inside = (network: string) =>
    all.filter(([, { networks }]) => networks?.includes(network)).map(([name]) => name);
  expect(inside('traces').sort()).toEqual(['jaeger', ...services.map(({ name }) => name)].sort());
  expect(inside('monitoring').sort()).toEqual(['grafana', 'jaeger', 'prometheus']);
  expectMatch(compose.networks, { traces: { internal: true } });
  // On a read-only file system Grafana would lose each data source that it tries to update.
  expectMatch(grafana, { read_only: true });
  expect(grafana.environment.GF_PLUGINS_PREINSTALL_DISABLED).toBe('true');
  expect(prometheus.command).toContain('--enable-feature=exemplar-storage');
});

test('Jaeger takes OTLP and shows a bounded number of traces, with its health where it is asked', async () => {
  const config = await readOne<Jaeger>('deploy/jaeger.yml');
  const { extensions, receivers, processors, exporters, service } = config;
  const of_services = Number(new URL('http://jaeger:4318').port);
  expect(Object.keys(receivers)).toEqual(['otlp']);
  expect(receivers.otlp.protocols).toEqual({ http: { endpoint: `0.0.0.0:${of_services}` } });
  const [, { memory }] = Object.entries(extensions.jaeger_storage.backends)[0] ?? ['', {}];
  expect(memory?.max_traces).toBeWithin(1, 100_000);
  const stores = Object.keys(extensions.jaeger_storage.backends);
  expect(stores).toEqual([extensions.jaeger_query.storage.traces]);
  expect(stores).toEqual([exporters.jaeger_storage_exporter.trace_storage]);
  expect(extensions.jaeger_query.http.endpoint).toBe('0.0.0.0:16686');
  const { jaeger } = compose.services;
  const health = `http://${extensions.healthcheckv2.http.endpoint}/status`;
  expect(jaeger.healthcheck.test.at(-1)).toBe(health);
  const page = await text('docs/tracing.md');
  expect(page).toContain(` ${jaeger.image}\n`);
  expect(page).toContain(` ${memory?.max_traces.toLocaleString('en')} in memory`);
  const { limit_mib } = processors.memory_limiter;
  const memory_mib = Number.parseInt(jaeger.deploy.resources.limits.memory, 10);
  expect(limit_mib).toBeLessThan(memory_mib);
  expect(Number.parseInt(jaeger.environment.GOMEMLIMIT, 10)).toBeWithin(limit_mib, memory_mib);
  const { traces } = service.pipelines;
  expect([...service.extensions].sort()).toEqual(Object.keys(extensions).sort());
  expect(traces.receivers).toEqual(Object.keys(receivers));
  expect(traces.processors).toEqual(Object.keys(processors));
  expect(traces.exporters).toEqual(Object.keys(exporters));
  expect(jaeger.command).toEqual(['--config', '/etc/jaeger/config.yml']);
  expect(jaeger.volumes).toEqual(['./deploy/jaeger.yml:/etc/jaeger/config.yml:ro']);
});

interface Jaeger {
  extensions: {
    healthcheckv2: { http: { endpoint: string } };
    jaeger_storage: { backends: Record<string, { memory?: { max_traces: number } }> };
    jaeger_query: { storage: { traces: string }; http: { endpoint: string } };
  };
  receivers: { otlp: { protocols: object } };
  processors: { memory_limiter: { limit_mib: number } };
  exporters: { jaeger_storage_exporter: { trace_storage: string } };
  service: {
    extensions: string[];
    pipelines: { traces: { receivers: string[]; processors: string[]; exporters: string[] } };
  };
}

test('migration and audit end by themselves, and only an operator starts an audit', () => {
  const once = { restart: 'no', healthcheck: { disable: true } };
  expectMatch(compose.services.migrate, once);
  for (const name of ['audit', 'keys']) {
    expectMatch(compose.services[name], { ...once, profiles: ['tools'] });
  }
  const ours = all.filter(([, { image }]) => image.startsWith('kassa:')).map(([name]) => name);
  expect(ours.sort()).toEqual(parts.toSorted());
});

test('the init script creates each SQL user that connects', async () => {
  const script = await text('deploy/cockroach-init.sh');
  const made = [...script.matchAll(/^CREATE USER IF NOT EXISTS (\w+);$/gm)].map(([, name]) => name);
  const that_connect = roles.filter((role) => role !== roleOf('migrate'));
  expect(made.sort()).toEqual(that_connect);
  expect(Object.keys(ROLES).sort()).toEqual(that_connect);
});

test('it runs the same CockroachDB as Kubernetes', () => {
  const images = all.map(([, { image }]) => image).filter((name) => /cockroach/.test(name));
  expect(new Set(images)).toEqual(new Set([`cockroachdb/cockroach:${production.image.tag}`]));
});
