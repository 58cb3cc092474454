/** The rules for manifests catch violations: each is violated once here and must report it. */
import { expect, test } from 'bun:test';
import { complaints, overlay } from './manifests/all.ts';
import { broken } from './manifests/break.ts';
import type { Manifest } from './manifests/read.ts';
import { violationsOf } from './manifests/schema.ts';

const POD = 'spec.template.spec';
const BOX = `${POD}.containers.0`;
const JOB = 'spec.jobTemplate.spec';
const PATH = 'spec.rules.0.http.paths.0.backend';
const bad: [object: string, path: string, value: unknown, said: string][] = [
  ['Deployment order', `${BOX}.image`, 'kassa', 'runs kassa, which is not pinned'],
  ['Deployment order', `${BOX}.image`, 'kassa:latest', 'not pinned'],
  ['Deployment order', `${BOX}.resources.limits`, undefined, 'no limit of memory'],
  ['Deployment order', `${BOX}.securityContext.capabilities.drop`, [], 'has capabilities'],
  ['Deployment order', `${POD}.securityContext.runAsNonRoot`, false, 'may run as root'],
  ['Deployment order', `${POD}.securityContext.runAsUser`, 2000, 'runs as another user'],
  ['Job migrate', `${POD}.automountServiceAccountToken`, true, 'Job migrate gets a token'],
  ['ServiceAccount stock', 'automountServiceAccountToken', true, 'without a token'],
  ['Deployment stock', `${POD}.serviceAccountName`, 'clerk', 'has no account clerk'],
  [
    'Deployment stock',
    `${BOX}.readinessProbe.httpGet.path`,
    '/health',
    'readinessProbe on /health',
  ],
  ['Deployment stock', `${BOX}.livenessProbe.httpGet.port`, 'web', 'livenessProbe without a port'],
  ['Deployment stock', `${BOX}.lifecycle`, undefined, 'stops before the gateway knows'],
  ['Deployment stock', `${POD}.terminationGracePeriodSeconds`, 25, 'is killed 0 s after its drain'],
  [
    'Deployment stock',
    `${BOX}.ports.0.containerPort`,
    8004,
    'Deployment stock is not on port 8003',
  ],
  ['Deployment stock', `${BOX}.ports.1.containerPort`, 9001, 'has no port 9000 for metrics'],
  ['ConfigMap kassa', 'data.METRICS_PORT', undefined, 'shows its metrics to all who call'],
  ['ConfigMap kassa', 'data.METRICS_PORT', '8002', 'payment shows its metrics to all who call'],
  ['Deployment stock', `${BOX}.args.0`, 'stocks', 'runs stocks, which the image does not have'],
  [
    'Deployment stock',
    `${BOX}.env.0.name`,
    'PROT',
    'sets PROT, which apps/runtime/config.ts does not have',
  ],
  ['Deployment stock', `${BOX}.env.1.valueFrom.configMapKeyRef.key`, 'order', 'is kassa_order to'],
  ['Deployment stock', `${BOX}.env.1.valueFrom.configMapKeyRef.key`, 'stack', 'reads no stack of'],
  ['Deployment stock', `${BOX}.envFrom.0.configMapRef.name`, 'kasse', 'reads no ConfigMap kasse'],
  [
    'Deployment stock',
    `${BOX}.volumeMounts.0.name`,
    'certificates',
    'mounts no volume certificates',
  ],
  ['Deployment stock', `${BOX}.volumeMounts.0.mountPath`, '/certs', 'no certificate is mounted'],
  ['Deployment stock', 'spec.replicas', 3, 'and its autoscaler both count'],
  ['ConfigMap kassa', 'data.LANES', 'two', 'LANES must be a whole number from 1 to 64'],
  ['ConfigMap kassa', 'data.DATABASE_CA_FILE', undefined, 'has no certificates'],
  ['Certificate kassa-stock-client', 'spec.secretName', 'other', 'a Secret that nobody makes'],
  ['Certificate kassa-stock-client', 'spec.commonName', 'root', 'is of root'],
  ['Certificate kassa-stock-client', 'spec.issuerRef.name', 'nobody', 'is issued by nobody'],
  ['Certificate kassa-cockroachdb-ca', 'spec.isCA', false, 'comes from no authority of ours'],
  ['Deployment stock', `${POD}.volumes.0.secret.optional`, true, 'starts without certificate'],
  [
    'Deployment stock',
    `${POD}.volumes.0.secret.secretName`,
    'kassa-order-client',
    'mounts kassa-order-client, not kassa-stock-client',
  ],
  ['Job migrate', 'spec.activeDeadlineSeconds', undefined, 'Job migrate has no deadline'],
  ['Job migrate', 'spec.backoffLimit', 0, 'is tried once'],
  ['Job migrate', 'spec.ttlSecondsAfterFinished', undefined, 'stays when it is over'],
  ['Job migrate', `${POD}.restartPolicy`, 'OnFailure', 'loses the log of a try'],
  ['CronJob audit', `${JOB}.activeDeadlineSeconds`, undefined, 'CronJob audit has no deadline'],
  ['CronJob audit', `${JOB}.backoffLimit`, 0, 'is tried once'],
  ['CronJob audit', `${JOB}.ttlSecondsAfterFinished`, undefined, 'stays when it is over'],
  [
    'CronJob audit',
    `${JOB}.podFailurePolicy.rules.1.onExitCodes.containerName`,
    'kassa',
    'looks at the end of kassa',
  ],
  ['CronJob audit', `${JOB}.template.spec.containers.0.args.0`, 'adit', 'runs adit, which'],
  ['CronJob audit', `${JOB}.template.spec.containers.0.image`, 'kassa', 'which is not pinned'],
  [
    'CronJob audit',
    `${JOB}.template.spec.containers.0.env.0.valueFrom.configMapKeyRef.key`,
    'migrate',
    'is kassa_migrate to the database',
  ],
  [
    'CronJob audit',
    `${JOB}.template.spec.volumes.0.secret.secretName`,
    'kassa-migrate-client',
    'mounts kassa-migrate-client, not kassa-reader-client',
  ],
  ['CronJob audit', `${JOB}.template.spec.securityContext`, {}, 'CronJob audit may run as root'],
  ['CronJob audit', 'spec.schedule', '@daily', 'is not daily: @daily'],
  ['CronJob audit', 'spec.timeZone', undefined, 'at a time that moves'],
  ['CronJob audit', 'spec.concurrencyPolicy', 'Allow', 'may run twice at once'],
  ['CronJob audit', 'spec.startingDeadlineSeconds', undefined, 'may start at any time'],
  ['CronJob audit', 'spec.failedJobsHistoryLimit', 0, 'forgets'],
  ['CronJob audit', 'spec.suspend', true, 'never runs'],
  ['Certificate kassa-reader-client', 'spec.commonName', 'root', 'is of root'],
  ['Service order', 'spec.selector', { 'app.kubernetes.io/name': 'kassa' }, 'selects 5 workloads'],
  ['Service order', 'spec.ports.0.targetPort', 'web', 'sends to no port web'],
  ['Ingress kassa', 'metadata.annotations', { a: 'b' }, 'the Ingress has annotations'],
  ['Ingress kassa', 'spec.ingressClassName', 'nginx', 'the Ingress names a class'],
  [
    'Ingress kassa',
    'spec.rules.0.http.paths.0.backend.service.name',
    'orders',
    'leads to no Service',
  ],
  ['Ingress kassa', `${PATH}.service.port.name`, 'metrics', 'leads to the port metrics'],
  ['ServiceMonitor kassa', 'spec.endpoints.0.port', 'http', 'asks on port http'],
  ['ServiceMonitor kassa', 'spec.endpoints.0.path', '/metric', 'asks for /metric'],
  ['ServiceMonitor kassa', 'spec.selector.matchLabels', { a: 'b' }, 'nobody scrapes Service order'],
  ['HorizontalPodAutoscaler order', 'spec.scaleTargetRef.name', 'orders', 'order: no autoscaler'],
  ['HorizontalPodAutoscaler order', 'spec.minReplicas', 9, 'a minimum over its maximum'],
  ['PodDisruptionBudget order', 'spec.selector.matchLabels', { a: 'b' }, '0 disruption budgets'],
  ['PodDisruptionBudget order', 'spec.maxUnavailable', 0, 'is not maxUnavailable 1'],
  ['NetworkPolicy services', 'spec.ingress.0.ports.0.port', 'web', 'names no port web'],
];
test.each(bad)('the rules catch %s with %s %j', (name, path, value, said) => {
  expect(complaints(broken(overlay('production'), name, path, value)).join('\n')).toContain(said);
});

const invalid: [overlay: string, object: string, path: string, value: unknown, said: string][] = [
  ['production', 'Deployment order', 'spec.selector', undefined, 'required property selector'],
  [
    'production-gateway-api',
    'HTTPRoute kassa',
    'spec.rules.0.matches.0.path.type',
    'Prefix',
    '/spec/rules/0/matches/0/path/type',
  ],
  [
    'minikube',
    'Deployment order',
    `${BOX}.imagePullPolice`,
    'Always',
    'unknown key spec.template.spec.containers.0.imagePullPolice',
  ],
];
test.each(invalid)('the schemas catch in %s: %s %s %j', async (name, object, path, value, said) => {
  const found = await Promise.all(broken(overlay(name), object, path, value).map(violationsOf));
  expect(found.flat()).toEqual([expect.stringContaining(said)]);
});

test('the schemas catch an unknown kind', async () => {
  const stranger: Manifest = { apiVersion: 'v2', kind: 'Pod', metadata: { name: 'a' } };
  expect(await violationsOf(stranger)).toEqual(['Pod a: no schema for v2 Pod']);
});

test('the rules catch a method that the HTTPRoute leaves out', () => {
  const method = 'spec.rules.0.matches.0.method';
  const open = broken(overlay('production-gateway-api'), 'HTTPRoute kassa', method, undefined);
  expect(complaints(open).join()).toContain('the HTTPRoute lets pass , HEAD');
});
