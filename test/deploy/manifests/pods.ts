/** Rules for pods: security, shutdown, probes, and existing references. */
import { type Manifest, nameOf, ofKind } from './read.ts';

export interface Pod {
  /** Such as `Deployment order`. */
  name: string;
  namespace: string | undefined;
  labels: Record<string, string>;
  spec: PodSpec;
}
export interface PodSpec {
  restartPolicy?: string;
  serviceAccountName?: string;
  automountServiceAccountToken?: boolean;
  enableServiceLinks?: boolean;
  terminationGracePeriodSeconds?: number;
  securityContext?: {
    runAsNonRoot?: boolean;
    runAsUser?: number;
    seccompProfile?: { type: string };
  };
  topologySpreadConstraints?: { labelSelector?: { matchLabels?: Record<string, string> } }[];
  containers: Container[];
  volumes?: Volume[];
}
interface Volume {
  name: string;
  secret?: { secretName: string; optional?: boolean };
  configMap?: { name: string };
}
interface Probe {
  httpGet?: { path: string; port: string | number };
}
export interface Container {
  name: string;
  image: string;
  args?: string[];
  env?: Variable[];
  envFrom?: { configMapRef?: { name: string } }[];
  ports?: { name: string; containerPort: number }[];
  startupProbe?: Probe;
  livenessProbe?: Probe;
  readinessProbe?: Probe;
  lifecycle?: { preStop?: { sleep?: { seconds: number } } };
  resources?: { requests?: Record<string, string>; limits?: Record<string, string> };
  securityContext?: {
    allowPrivilegeEscalation?: boolean;
    readOnlyRootFilesystem?: boolean;
    capabilities?: { drop?: string[] };
  };
  volumeMounts?: { name: string; mountPath: string }[];
}
interface Variable {
  name: string;
  value?: string;
  valueFrom?: { configMapKeyRef?: { name: string; key: string } };
}
interface Workload {
  spec: { template: { metadata: Manifest['metadata']; spec: PodSpec } };
}

/** The pods among the objects, and the pod templates of workloads. */
export const podsOf = (objects: Manifest[]): Pod[] => [
  ...['Deployment', 'Job'].flatMap((kind) =>
    ofKind<Workload>(objects, kind).map((object) => templated(object, object)),
  ),
  ...ofKind<{ spec: { jobTemplate: Workload } }>(objects, 'CronJob').map((object) =>
    templated(object, object.spec.jobTemplate),
  ),
  ...ofKind<{ spec: PodSpec }>(objects, 'Pod').map((object) =>
    pod(object, object.metadata.labels, object.spec),
  ),
];
const templated = (object: Manifest, { spec }: Workload): Pod =>
  pod(object, spec.template.metadata.labels, spec.template.spec);
const pod = (object: Manifest, labels: Record<string, string> = {}, spec: PodSpec): Pod => {
  return { name: nameOf(object), namespace: object.metadata.namespace, labels, spec };
};

/** The Pod Security Standard `restricted`, resources, no token, a pinned image. */
export function looseEnds(objects: Manifest[]): string[] {
  return podsOf(objects).flatMap(({ name, labels, spec }) => {
    const wrong = spec.containers.flatMap((container) => looseContainer(container));
    if (spec.securityContext?.runAsNonRoot !== true) wrong.push('may run as root');
    if (!spec.securityContext?.runAsUser) wrong.push('has no user');
    if (spec.securityContext?.seccompProfile?.type !== 'RuntimeDefault')
      wrong.push('has no seccomp');
    if (spec.automountServiceAccountToken !== false) wrong.push('gets a token');
    if (spec.enableServiceLinks !== false) wrong.push('gets variables of Services');
    for (const { labelSelector } of spec.topologySpreadConstraints ?? []) {
      const own = Object.entries(labelSelector?.matchLabels ?? { none: '' });
      if (!own.every(([key, value]) => labels[key] === value)) wrong.push('spreads other pods');
    }
    return wrong.map((what) => `${name} ${what}`);
  });
}

function looseContainer({ image, resources, securityContext }: Container): string[] {
  const wrong: string[] = [];
  if (!pinned(image)) wrong.push(`runs ${image}, which is not pinned`);
  if (!resources?.requests?.cpu || !resources.requests.memory) wrong.push('requests too little');
  if (!resources?.limits?.memory) wrong.push('has no limit of memory');
  if (securityContext?.allowPrivilegeEscalation !== false) wrong.push('may gain privileges');
  if (securityContext?.readOnlyRootFilesystem !== true) wrong.push('may write to its root');
  if (!securityContext?.capabilities?.drop?.includes('ALL')) wrong.push('has capabilities');
  return wrong;
}

/** A tag other than `latest`, or a digest. */
export const pinned = (image: string): boolean =>
  /(?::(?!latest(?:@|$))[\w.-]+|@sha256:[0-9a-f]{64})$/.test(image);

/** Services need every probe, on an existing port and path, and enough time to stop. */
export function unprobed(objects: Manifest[], drain_ms: number, paths: Set<string>): string[] {
  const deployments = objects.filter((object) => object.kind === 'Deployment');
  return podsOf(deployments).flatMap(({ name, spec }) => {
    const wrong: string[] = [];
    for (const container of spec.containers) {
      const { startupProbe, livenessProbe, readinessProbe } = container;
      for (const [kind, probe] of Object.entries({ startupProbe, livenessProbe, readinessProbe })) {
        const { path = '', port = '' } = probe?.httpGet ?? {};
        if (!portOf(container, port)) wrong.push(`has a ${kind} without a port`);
        if (!paths.has(path)) wrong.push(`has a ${kind} on ${path}, which no service answers`);
      }
      const sleep_s = container.lifecycle?.preStop?.sleep?.seconds ?? 0;
      if (sleep_s === 0) wrong.push('stops before the gateway knows');
      const slack_s = (spec.terminationGracePeriodSeconds ?? 30) - sleep_s - drain_ms / 1000;
      if (slack_s < 5) wrong.push(`is killed ${slack_s} s after its drain: less than 5`);
    }
    return wrong.map((what) => `${name} ${what}`);
  });
}

/** The number of a container's port, by name or number. */
export const portOf = ({ ports = [] }: Container, port: string | number): number | undefined =>
  ports.find(({ name, containerPort }) => name === port || containerPort === port)?.containerPort;

/** References of pods to missing ConfigMaps, Secrets, accounts and volumes. */
export function danglingReferences(objects: Manifest[]): string[] {
  const maps = ofKind<{ data: Record<string, string> }>(objects, 'ConfigMap');
  const map = (name = '') => maps.find(({ metadata }) => metadata.name === name);
  const certificates = ofKind<{ spec: { secretName: string } }>(objects, 'Certificate');
  const secrets = certificates.map(({ spec }) => spec.secretName);
  const accounts = ofKind<{ automountServiceAccountToken?: boolean }>(objects, 'ServiceAccount');
  return podsOf(objects).flatMap(({ name, spec }) => {
    const wrong: string[] = [];
    const account = accounts.find(({ metadata }) => metadata.name === spec.serviceAccountName);
    if (spec.serviceAccountName && account?.automountServiceAccountToken !== false) {
      wrong.push(`has no account ${spec.serviceAccountName} without a token`);
    }
    for (const { env = [], envFrom = [], volumeMounts = [] } of spec.containers) {
      for (const { configMapRef } of envFrom) {
        if (!map(configMapRef?.name)) wrong.push(`reads no ConfigMap ${configMapRef?.name}`);
      }
      for (const { configMapKeyRef: from } of env.flatMap(({ valueFrom }) => valueFrom ?? [])) {
        const value = map(from?.name)?.data[from?.key ?? ''];
        if (value === undefined) wrong.push(`reads no ${from?.key} of ConfigMap ${from?.name}`);
      }
      const volumes = new Set(spec.volumes?.map((volume) => volume.name));
      for (const mount of volumeMounts) {
        if (!volumes.has(mount.name)) wrong.push(`mounts no volume ${mount.name}`);
      }
    }
    for (const { secret, configMap } of spec.volumes ?? []) {
      if (configMap && !map(configMap.name)) wrong.push(`mounts no ConfigMap ${configMap.name}`);
      const made = secret && (secret.optional || secrets.includes(secret.secretName));
      if (secret && !made) wrong.push(`waits for a Secret that nobody makes: ${secret.secretName}`);
    }
    return wrong.map((what) => `${name} ${what}`);
  });
}
