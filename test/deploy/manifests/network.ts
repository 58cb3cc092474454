/** Evaluates NetworkPolicies: which pods can connect to which. */
import { podsOf } from './pods.ts';
import { type Manifest, ofKind, type Selector, selects } from './read.ts';

/** A group of equal pods, or the outside world, with the ports it listens on. */
interface Place {
  name: string;
  /** Undefined for the outside world. */
  namespace?: string;
  labels: Record<string, string>;
  /** By name. */
  ports: Record<string, number>;
}
interface Peer {
  podSelector?: Selector;
  namespaceSelector?: Selector;
  ipBlock?: { cidr: string };
}
interface Rule {
  from?: Peer[];
  to?: Peer[];
  ports?: { port: string | number }[];
}
interface Policy {
  spec: { podSelector: Selector; policyTypes: string[]; ingress?: Rule[]; egress?: Rule[] };
}

const database = { 'app.kubernetes.io/name': 'cockroachdb', 'app.kubernetes.io/instance': 'kassa' };
const COMPONENT = 'app.kubernetes.io/component';

/** The surroundings of our pods: those of the charts, with their labels, and others. */
const AROUND: Place[] = [
  {
    name: 'cockroachdb',
    namespace: 'kassa',
    labels: { ...database, [COMPONENT]: 'cockroachdb' },
    ports: { grpc: 26257, http: 8080 },
  },
  { name: 'init', namespace: 'kassa', labels: { ...database, [COMPONENT]: 'init' }, ports: {} },
  { name: 'stranger', namespace: 'kassa', labels: {}, ports: { any: 80 } },
  { name: 'traefik', namespace: 'traefik', labels: {}, ports: { web: 8000 } },
  { name: 'prometheus', namespace: 'monitoring', labels: {}, ports: { web: 9090 } },
  { name: 'elsewhere', namespace: 'elsewhere', labels: {}, ports: { any: 80 } },
  { name: 'dns', namespace: 'kube-system', labels: { 'k8s-app': 'kube-dns' }, ports: { dns: 53 } },
  { name: 'kube-system', namespace: 'kube-system', labels: {}, ports: { any: 443 } },
  { name: 'internet', labels: {}, ports: { https: 443 } },
];

/** Every allowed connection from or to the namespace, as `order → cockroachdb 26257`, sorted. */
export function reachable(objects: Manifest[]): string[] {
  const own = podsOf(objects).map(({ name, namespace = '', labels, spec }) => {
    const ports = spec.containers.flatMap((container) => container.ports ?? []);
    const numbers = ports.map((port) => [port.name, port.containerPort] as const);
    return {
      name: name.split(' ')[1] ?? '',
      namespace,
      labels,
      ports: Object.fromEntries(numbers),
    };
  });
  const places: Place[] = [...own, ...AROUND];
  const policies = ofKind<Policy>(objects, 'NetworkPolicy');
  const ways: string[] = [];
  for (const from of places) {
    for (const to of places) {
      if (from.namespace !== 'kassa' && to.namespace !== 'kassa') continue;
      for (const port of Object.values(to.ports)) {
        const open =
          allows(policies, 'Egress', from, to, to, port) &&
          allows(policies, 'Ingress', to, from, to, port);
        if (open) ways.push(`${from.name} → ${to.name} ${port}`);
      }
    }
  }
  return ways.sort();
}

function allows(
  policies: (Policy & Manifest)[],
  direction: 'Ingress' | 'Egress',
  self: Place,
  other: Place,
  to: Place,
  port: number,
): boolean {
  const binding = policies.filter(
    ({ metadata, spec }) =>
      metadata.namespace === self.namespace &&
      spec.policyTypes.includes(direction) &&
      selects(spec.podSelector, self.labels),
  );
  if (binding.length === 0) return true;
  return binding.some(({ metadata, spec }) =>
    ((direction === 'Ingress' ? spec.ingress : spec.egress) ?? []).some(
      ({ from, to: goal, ports }) =>
        (from ?? goal)?.some((peer) => isPeer(peer, other, metadata.namespace)) &&
        ports?.some((each) => each.port === port || to.ports[each.port] === port),
    ),
  );
}

function isPeer(peer: Peer, place: Place, namespace: string | undefined): boolean {
  if (peer.ipBlock || !place.namespace) return Boolean(peer.ipBlock) && !place.namespace;
  const names = { 'kubernetes.io/metadata.name': place.namespace };
  const there = peer.namespaceSelector
    ? selects(peer.namespaceSelector, names)
    : place.namespace === namespace;
  return there && selects(peer.podSelector, place.labels);
}

/** Ports in policies that no pod has. */
export function unknownPorts(objects: Manifest[]): string[] {
  const own = podsOf(objects).flatMap(({ spec }) => spec.containers.flatMap((c) => c.ports ?? []));
  const around = AROUND.flatMap(({ ports }) => Object.values(ports));
  const known = new Set<string | number>([
    ...around,
    ...own.flatMap((p) => [p.name, p.containerPort]),
  ]);
  return ofKind<Policy>(objects, 'NetworkPolicy').flatMap(({ metadata, spec }) =>
    [...(spec.ingress ?? []), ...(spec.egress ?? [])]
      .flatMap(({ ports = [] }) => ports)
      .filter(({ port }) => !known.has(port))
      .map(({ port }) => `NetworkPolicy ${metadata.name} names no port ${port}`),
  );
}
