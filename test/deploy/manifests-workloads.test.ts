/**
 * The workloads of Kubernetes are restricted, refer to what is there, and agree with the product.
 */

import { expect, test } from 'bun:test';
import type { Call } from '../../apps/contract/call.ts';
import { CALLS } from '../../apps/contract/calls.ts';
import {
  built,
  CONSOLE_PORT,
  configOf,
  deployed,
  environmentOf,
  expectMatch,
  OVERLAYS,
  overlay,
  PINNED,
  published,
  roleOf,
  services,
  tools,
  user,
} from './manifests/all.ts';
import { find, type Manifest, ofKind, podsOf, selects } from './manifests/read.ts';

const SOME = expect.any(String);
const expectPositive = (spec: Record<string, number>, ...names: string[]) =>
  expect(names.filter((name) => !((spec[name] ?? 0) > 0))).toEqual([]);

const NO_TOKEN = { automountServiceAccountToken: false };
/** The Pod Security Standard `restricted`, and no token. */
const RESTRICTED = {
  ...NO_TOKEN,
  enableServiceLinks: false,
  securityContext: {
    runAsNonRoot: true,
    runAsUser: expect.any(Number),
    seccompProfile: { type: 'RuntimeDefault' },
  },
};
const RESTRICTED_CONTAINER = {
  image: expect.stringMatching(PINNED),
  resources: { requests: { cpu: SOME, memory: SOME }, limits: { memory: SOME } },
  securityContext: {
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ['ALL'] },
  },
};

const pods = [...built, ['k8s/tools', tools] as const].flatMap(([folder, objects]) =>
  podsOf(objects).map((pod) => ({ folder, objects, ...pod })),
);
test.each(pods)('$folder: $name is restricted, and what it refers to is there', (pod) => {
  const { objects, labels, spec } = pod;
  expectMatch(spec, RESTRICTED);
  for (const { labelSelector } of spec.topologySpreadConstraints ?? []) {
    expect(selects(labelSelector, labels)).toBe(true);
  }
  for (const container of spec.containers) {
    expectMatch(container, RESTRICTED_CONTAINER);
    expect(environmentOf(container, objects)).toBeDefined();
    expect(container.volumeMounts.map(nameOf)).toEqual(spec.volumes.map(nameOf));
  }
  for (const { configMap } of spec.volumes)
    if (configMap) find(objects, 'ConfigMap', configMap.name);
});
const nameOf = ({ name }: { name: string }) => name;

const inEach = <T extends object>(what: readonly T[]) =>
  OVERLAYS.flatMap((name) => what.map((one) => ({ ...one, in: name, objects: overlay(name) })));

/** Where Secrets of cert-manager are mounted. */
const MOUNT = '/var/run/secrets/kassa';
const AUTHORITY = 'kassa-cockroachdb-ca';

const eachPart = inEach(deployed.map((part) => ({ part, role: roleOf(part) })));
test.each(eachPart)('$in: $part runs as $role, with a valid configuration', (its) => {
  const { part, role, objects } = its;
  const secure = its.in !== 'minikube';
  const secretName = `${role.replace('_', '-')}-client`;
  const [pod] = podsOf(objects).filter(({ name }) => name === part);
  expectMatch(pod?.spec, {
    serviceAccountName: part,
    securityContext: { runAsUser: user },
    containers: [{ name: part, args: [part], volumeMounts: [{ mountPath: MOUNT }] }],
    volumes: [{ secret: { secretName, optional: !secure } }],
  });
  expectMatch(find(objects, 'ServiceAccount', part), NO_TOKEN);
  const mode = secure ? 'verify-full' : 'disable';
  const config = configOf(environmentOf(pod?.spec.containers[0], objects));
  expectMatch(config, {
    DATABASE_URL: `postgresql://${role}@kassa-cockroachdb-public:26257/kassa?sslmode=${mode}`,
    HOST: '0.0.0.0',
  });
  if (!secure) return expect(pod?.spec.containers[0].image).toBe('kassa:dev');
  expectMatch(config, {
    DATABASE_CA_FILE: `${MOUNT}/ca.crt`,
    DATABASE_CERT_FILE: `${MOUNT}/tls.crt`,
    DATABASE_KEY_FILE: `${MOUNT}/tls.key`,
  });
  expectMatch(find(objects, 'Certificate', secretName).spec, {
    secretName,
    commonName: role,
    usages: expect.arrayContaining(['client auth']),
    issuerRef: { name: `${AUTHORITY}-issuer` },
  });
});

test('client certificates come from an authority of ours', () => {
  const objects = overlay('production');
  expect(find(objects, 'Issuer', `${AUTHORITY}-issuer`).spec.ca.secretName).toBe(AUTHORITY);
  const { secretName, isCA, issuerRef } = find(objects, 'Certificate', AUTHORITY).spec;
  expect([secretName, isCA]).toEqual([AUTHORITY, true]);
  expect(find(objects, 'Issuer', issuerRef.name).spec.selfSigned).toEqual({});
});

const probe = (path: string) => ({ httpGet: { path, port: 'http' } });
const health = CALLS.filter(({ tag }) => tag === 'health').map(({ path }) => path);

test.each(inEach(services))('$in: $name has ports, probes and time to stop', (service) => {
  const { name, port, objects } = service;
  const pod = find(objects, 'Deployment', name).spec.template.spec;
  const [container] = pod.containers;
  const { PORT, METRICS_PORT, DRAIN_MS } = configOf(environmentOf(container, objects));
  expect([PORT, METRICS_PORT === PORT]).toEqual([port, false]);
  expectMatch(container, {
    ports: [
      { name: 'http', containerPort: PORT },
      { name: 'metrics', containerPort: METRICS_PORT },
    ],
    startupProbe: probe('/health/live'),
    livenessProbe: probe('/health/live'),
    readinessProbe: probe('/health/ready'),
  });
  expect(health).toEqual(['/health/live', '/health/ready']);
  const { sleep } = container.lifecycle.preStop;
  expectPositive(sleep, 'seconds');
  const slack_s = pod.terminationGracePeriodSeconds - sleep.seconds - DRAIN_MS / 1000;
  expect(slack_s).toBeGreaterThanOrEqual(5);
  expect(find(objects, 'Service', name).spec.ports).toEqual([
    { name: 'http', port, targetPort: 'http' },
    { name: 'metrics', port: METRICS_PORT, targetPort: 'metrics' },
  ]);
});

/** The workloads that a selector chooses. */
const chosen = (objects: Manifest[], selector: object): string[] =>
  podsOf(objects)
    .filter(({ labels }) => selects(selector, labels))
    .map(({ name }) => name);

const AUTOSCALER = 'HorizontalPodAutoscaler';
/** Replicas without an autoscaler, in each overlay. */
const FIXED = { webhooks: { minikube: 1, production: 2, 'production-gateway-api': 2 } };

test.each(inEach(services))('$in: $name has one Service and budget, and its pods', (service) => {
  const { name, objects } = service;
  const matchLabels = find(objects, 'Service', name).spec.selector;
  expect(chosen(objects, { matchLabels })).toEqual([name]);
  const budget = find(objects, 'PodDisruptionBudget', name).spec;
  expect([budget.maxUnavailable, chosen(objects, budget.selector)]).toEqual([1, [name]]);
  const { replicas } = find(objects, 'Deployment', name).spec;
  const fixed: Record<string, number> | undefined = name === 'webhooks' ? FIXED[name] : undefined;
  expect(replicas).toBe(fixed?.[service.in]);
  const scaled = ofKind(objects, AUTOSCALER).filter(({ metadata }) => metadata.name === name);
  expect(scaled).toHaveLength(fixed ? 0 : 1);
  for (const { spec } of scaled) {
    expect(spec.scaleTargetRef).toEqual({ apiVersion: 'apps/v1', kind: 'Deployment', name });
    expect(spec.minReplicas).toBeLessThanOrEqual(spec.maxReplicas);
  }
});

test.each(OVERLAYS)(
  '%s: the console finds each pod of each service, and nothing leads to it',
  (name) => {
    const objects = overlay(name);
    const { containers } = find(objects, 'Deployment', 'console').spec.template.spec;
    const config = configOf(environmentOf(containers[0], objects));
    expect([config.PORT, config.ALLOWED_HOSTS]).toEqual([CONSOLE_PORT, '.localhost']);
    const found = config.CONSOLE_TARGETS.split(',').map((target) => {
      const [host = '', port] = target.split(':');
      const { clusterIP, publishNotReadyAddresses, selector, ports } = find(
        objects,
        'Service',
        host,
      ).spec;
      expect([clusterIP, publishNotReadyAddresses]).toEqual(['None', true]); // so the name has the pods' addresses
      expect([ports[0].targetPort, Number(port)]).toEqual(['metrics', config.METRICS_PORT]);
      return chosen(objects, { matchLabels: selector });
    });
    expect(found).toEqual(services.map((service) => [service.name]));
    const matchLabels = find(objects, 'Service', 'console').spec.selector;
    expect(chosen(objects, { matchLabels })).toEqual(['console']);
    expect(
      ofKind(objects, 'Deployment')
        .map(({ metadata }) => metadata.name)
        .sort(),
    ).toEqual(['console', ...services.map((service) => service.name)].sort());
  },
);

test('paths lead to their service, by whatever controller the cluster has; none to webhooks', () => {
  const prefixes = published.flatMap((service) => service.prefixes);
  const inside = ({ path }: Call) =>
    prefixes.some((prefix) => path.startsWith(`${prefix}/`) || path === prefix);
  const closed = CALLS.filter((call) => !inside(call) && call.tag !== 'health');
  expect(closed).toEqual(CALLS.filter(({ tag }) => tag === 'webhooks' || tag === 'keys'));
  expect(closed.length).toBeGreaterThan(5);
  for (const name of ['minikube', 'production']) {
    const { metadata, spec } = find(overlay(name), 'Ingress', 'kassa');
    expect([metadata.annotations, spec.ingressClassName]).toEqual([undefined, undefined]);
    const paths = published.flatMap(({ name, prefixes }) => {
      const backend = { service: { name, port: { name: 'http' } } };
      return prefixes.map((path) => ({ path, pathType: 'Prefix', backend }));
    });
    expect(spec.rules).toMatchObject([{ http: { paths } }]); // an overlay may add a host
  }
  const gatewayApi = overlay('production-gateway-api');
  expect(ofKind(gatewayApi, 'Ingress')).toEqual([]);
  // The methods that the services' runtime answers on every path.
  const methods = ['GET', 'HEAD', 'POST', 'DELETE', 'PUT', 'PATCH', 'OPTIONS'];
  expect(find(gatewayApi, 'HTTPRoute', 'kassa').spec.rules).toEqual(
    published.map(({ name, port, prefixes }) => {
      const paths = prefixes.map((value) => ({ type: 'PathPrefix', value }));
      const matches = paths.flatMap((path) => methods.map((method) => ({ method, path })));
      return { matches, backendRefs: [{ name, port }] };
    }),
  );
});

test.each(OVERLAYS)('%s: the jobs end, are tried again, and leave no more than is read', (name) => {
  const objects = overlay(name);
  const audit = find(objects, 'CronJob', 'audit').spec;
  for (const { spec } of [find(objects, 'Job', 'migrate'), audit.jobTemplate]) {
    expectPositive(spec, 'activeDeadlineSeconds', 'backoffLimit', 'ttlSecondsAfterFinished');
    expect(spec.template.spec.restartPolicy).toBe('Never');
  }
  expectMatch(audit, {
    schedule: expect.stringMatching(/^\d+ \d+ \* \* \*$/),
    timeZone: 'Etc/UTC',
    concurrencyPolicy: 'Forbid',
  });
  const limits = ['successfulJobsHistoryLimit', 'failedJobsHistoryLimit'];
  expectPositive(audit, 'startingDeadlineSeconds', ...limits);
  expect(audit.suspend).toBeUndefined();
  const [, onViolation] = audit.jobTemplate.spec.podFailurePolicy.rules;
  expectMatch(onViolation, { action: 'FailJob', onExitCodes: { containerName: 'audit' } });
});
