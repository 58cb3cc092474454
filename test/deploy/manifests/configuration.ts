/** Rules for what manifests and product must agree on: variables, ports, roles, paths. */
import { type Environment, readConfig } from '../../../apps/runtime/config.ts';
import { variables } from '../../../apps/runtime/variables.ts';
import { type Container, type PodSpec, podsOf } from './pods.ts';
import { type Manifest, ofKind, text } from './read.ts';

export const known = (name: string): boolean => name in variables.shape;

/** The facts of the product: ports, prefixes and paths of the services, parts of the image. */
export async function readProduct() {
  const ports: Record<string, number> = {};
  const routes: string[] = [];
  for (const service of ['order', 'payment', 'stock']) {
    const main = await text(`apps/${service}/main.ts`);
    ports[service] = Number(main.match(/startService\('\w+', (\d+)/)?.[1]);
    const prefix = (await text(`apps/${service}/routes.ts`)).match(/basePath\('([^']+)'\)/)?.[1];
    routes.push(`${prefix} → ${service}`);
  }
  const serve = await text('apps/http/server.ts');
  const found = serve.matchAll(/\b(?:app|scrapes)\.get\('([^']+)'/g);
  const paths = new Set([...found].map(([, path = '']) => path));
  const entry = await text('deploy/entry.ts');
  const parts = [...entry.matchAll(/^ {2}(\w+): \(\) =>/gm)].map(([, part = '']) => part);
  const user = (await text('deploy/Dockerfile')).match(/^USER (\d+)/m)?.[1];
  return { ports, routes: routes.sort(), paths, parts, user: Number(user) };
}
export type Product = Awaited<ReturnType<typeof readProduct>>;

/** The environment of a container's process, as the manifests set it. */
export function environmentOf(container: Container, objects: Manifest[]): Environment {
  const maps = ofKind<{ data: Record<string, string> }>(objects, 'ConfigMap');
  const data = (name = '') => maps.find(({ metadata }) => metadata.name === name)?.data ?? {};
  const all: Environment = {};
  for (const { configMapRef } of container.envFrom ?? []) {
    Object.assign(all, data(configMapRef?.name));
  }
  for (const { name, value, valueFrom } of container.env ?? []) {
    const from = valueFrom?.configMapKeyRef;
    all[name] = value ?? data(from?.name)[from?.key ?? ''];
  }
  return all;
}

/** The SQL role of a part of the image. The audit runs as the reader. */
export const roleOf = (part: string): string => `kassa_${part === 'audit' ? 'reader' : part}`;

/** Containers of our image with an invalid or incomplete configuration. */
export function misconfigured(objects: Manifest[], product: Product): string[] {
  return podsOf(objects).flatMap(({ name, spec }) =>
    spec.containers
      .filter(({ image }) => image.startsWith('kassa:'))
      .flatMap((container) => {
        const environment = environmentOf(container, objects);
        const [part = ''] = container.args ?? [];
        const wrong = Object.keys(environment)
          .filter((variable) => !known(variable))
          .map((variable) => `sets ${variable}, which apps/runtime/config.ts does not have`);
        if (!product.parts.includes(part))
          wrong.push(`runs ${part}, which the image does not have`);
        if (spec.securityContext?.runAsUser !== product.user) wrong.push('runs as another user');
        const its = product.ports[part];
        if (its) wrong.push(...misplaced(environment, its, container));
        wrong.push(...badClient(spec, part, environment));
        return [...wrong, ...misread(environment, part, container)].map(
          (what) => `${name} ${what}`,
        );
      }),
  );
}

/** Calls use the service's port, scrapes another one, so that no route exposes metrics. */
function misplaced(environment: Environment, its: number, { ports = [] }: Container): string[] {
  const { PORT, METRICS_PORT } = environment;
  const wrong: string[] = [];
  const named = Object.fromEntries(ports.map(({ name, containerPort }) => [name, containerPort]));
  if (Number(PORT) !== its || named.http !== its) wrong.push(`is not on port ${its}`);
  if (!METRICS_PORT || METRICS_PORT === PORT) wrong.push('shows its metrics to all who call');
  if (named.metrics !== Number(METRICS_PORT)) wrong.push(`has no port ${METRICS_PORT} for metrics`);
  if (ports.length !== 2) wrong.push('has other ports');
  return wrong;
}

/** The mounted certificate must be that of the part's role, and exist before the container starts. */
function badClient({ volumes = [] }: PodSpec, part: string, environment: Environment): string[] {
  const own = `${roleOf(part).replace('_', '-')}-client`;
  return volumes.flatMap(({ secret }) => {
    if (!secret) return [];
    const wrong = secret.secretName === own ? [] : [`mounts ${secret.secretName}, not ${own}`];
    if (environment.DATABASE_KEY_FILE && secret.optional) wrong.push('starts without certificate');
    return wrong;
  });
}

/** The errors of readConfig, and a wrong address of the database. */
function misread(environment: Environment, part: string, container: Container): string[] {
  const wrong: string[] = [];
  try {
    readConfig(environment);
  } catch (error) {
    wrong.push(error instanceof Error ? error.message : String(error));
  }
  const url = new URL(environment.DATABASE_URL ?? 'none:');
  if (url.username !== roleOf(part)) wrong.push(`is ${url.username || 'nobody'} to the database`);
  if (url.host !== 'kassa-cockroachdb-public:26257') wrong.push(`looks for the database at ${url}`);
  const files = Object.entries(environment).filter(([name]) => name.endsWith('_FILE'));
  if (url.searchParams.get('sslmode') === 'verify-full' && files.length < 3) {
    wrong.push('has no certificates for a database with TLS');
  }
  for (const [name, path = ''] of files) {
    const folder = path.slice(0, path.lastIndexOf('/'));
    const mounted = container.volumeMounts?.some(({ mountPath }) => mountPath === folder);
    if (!mounted || !/\/(?:ca\.crt|tls\.crt|tls\.key)$/.test(path)) {
      wrong.push(`has ${name} where no certificate is mounted`);
    }
  }
  return wrong;
}

/** Variables that no manifest sets and no comment in the base's kustomization mentions. */
export function forgotten(overlays: Manifest[][], kustomization: string): string[] {
  const set = overlays.flatMap((objects) =>
    podsOf(objects).flatMap(({ spec }) =>
      spec.containers.flatMap((container) => Object.keys(environmentOf(container, objects))),
    ),
  );
  const comments = kustomization.split('\n').filter((line) => line.trim().startsWith('#'));
  const named = new Set(comments.join(' ').match(/\b[A-Z][A-Z_]+\b/g));
  return Object.keys(variables.shape).filter((name) => !set.includes(name) && !named.has(name));
}

/** Client certificates: the common name must be the SQL role of their workload. */
export function badCertificates(objects: Manifest[]): string[] {
  const certificates = ofKind<Certificate>(objects, 'Certificate');
  const issuers = ofKind<{ spec: { ca?: { secretName: string } } }>(objects, 'Issuer');
  return certificates.flatMap(({ metadata, spec }) => {
    const wrong: string[] = [];
    const issuer = issuers.find((each) => each.metadata.name === spec.issuerRef.name);
    if (!issuer) wrong.push('is issued by nobody');
    const role = spec.secretName.match(/^kassa-(.+)-client$/)?.[1];
    if (role && spec.commonName !== `kassa_${role}`) wrong.push(`is of ${spec.commonName}`);
    if (role && !spec.usages?.includes('client auth')) wrong.push('is for no client');
    const authority = certificates.find(
      (each) => each.spec.secretName === issuer?.spec.ca?.secretName,
    );
    if (role && !authority?.spec.isCA) wrong.push('comes from no authority of ours');
    return wrong.map((what) => `Certificate ${metadata.name} ${what}`);
  });
}
interface Certificate {
  spec: {
    secretName: string;
    commonName: string;
    isCA?: boolean;
    usages?: string[];
    issuerRef: { name: string };
  };
}
