/** Evaluates NetworkPolicies: which pods can connect to which. */

import ipaddr from 'ipaddr.js';
import type {
  INetworkPolicyEgressRule,
  INetworkPolicyIngressRule,
  INetworkPolicyPeer,
} from 'kubernetes-models/networking.k8s.io/v1';
import type { IContainerPort } from 'kubernetes-models/v1';
import { type Manifest, ofKind, type Pod, podsOf, selects } from './read.ts';

/** A group of equal pods, or an address of the outside world, with its ports by name. */
interface Place extends Omit<Pod, 'spec'> {
  ports: Record<string, number>;
  address?: string;
}

const COMPONENT = 'app.kubernetes.io/component';
const database = { 'app.kubernetes.io/name': 'cockroachdb', 'app.kubernetes.io/instance': 'kassa' };
const node = { ...database, [COMPONENT]: 'cockroachdb' };
const init = { ...database, [COMPONENT]: 'init' };
const place = (
  name: string,
  namespace: string | undefined,
  ports: Record<string, number>,
  labels = {},
): Place => ({ name, namespace, ports, labels });

/** The surroundings of our pods: those of the charts, with their labels, and others. */
const AROUND: Place[] = [
  place('cockroachdb', 'kassa', { grpc: 26257, http: 8080 }, node),
  place('init', 'kassa', {}, init),
  place('stranger', 'kassa', { any: 80 }),
  place('traefik', 'traefik', { web: 8000 }),
  place('prometheus', 'monitoring', { web: 9090 }),
  place('collector', 'observability', { otlp: 4318, grpc: 4317 }),
  place('elsewhere', 'elsewhere', { any: 80 }),
  place('dns', 'kube-system', { dns: 53 }, { 'k8s-app': 'kube-dns' }),
  place('kube-system', 'kube-system', { any: 443 }),
  ...Object.entries({
    internet: '1.1.1.1',
    internet6: '2606:4700::1111',
    machine: '10.0.0.1',
    metadata: '169.254.169.254',
  }).map(([name, address]) => ({ ...place(name, undefined, { https: 443, sql: 5432 }), address })),
];

/** Every allowed connection from or to the namespace, as `order → cockroachdb 26257`, sorted. */
export function reachable(objects: Manifest[]): string[] {
  const own = podsOf(objects).map(({ name, namespace, labels, spec }) => {
    const ports: IContainerPort[] = spec.containers[0].ports ?? [];
    const named = ports.map((port) => [port.name, port.containerPort]);
    return place(name, namespace, Object.fromEntries(named), labels);
  });
  const places = [...own, ...AROUND];
  const policies = ofKind(objects, 'NetworkPolicy');
  const ways = places.flatMap((from) =>
    places.flatMap((to) => {
      if (from.namespace !== 'kassa' && to.namespace !== 'kassa') return [];
      return Object.entries(to.ports)
        .filter((port) => allows(policies, 'Egress', from, to, port))
        .filter((port) => allows(policies, 'Ingress', to, from, port))
        .map(([, port]) => `${from.name} → ${to.name} ${port}`);
    }),
  );
  return ways.sort();
}

/** Whether the policies of `self` allow a connection with `other` on a port, given both ways. */
function allows(
  policies: Manifest[],
  direction: 'Ingress' | 'Egress',
  self: Place,
  other: Place,
  port: [name: string, number: number],
): boolean {
  const binding = policies.filter(
    ({ metadata, spec }) =>
      metadata.namespace === self.namespace &&
      spec.policyTypes.includes(direction) &&
      selects(spec.podSelector, self.labels),
  );
  const rules: (INetworkPolicyIngressRule & INetworkPolicyEgressRule)[] = binding.flatMap(
    ({ spec }) => spec[direction.toLowerCase()] ?? [],
  );
  const isOpen = ({ from, to, ports }: (typeof rules)[number]) =>
    (from ?? to)?.some((peer) => isPeer(peer, other, self.namespace)) &&
    ports?.some((each) => port.includes(each.port ?? ''));
  return binding.length === 0 || rules.some(isOpen);
}

function isPeer(
  peer: INetworkPolicyPeer,
  { namespace, labels, address }: Place,
  own?: string,
): boolean {
  if (peer.ipBlock) return address !== undefined && isWithin(peer.ipBlock, address);
  if (!namespace) return false;
  const names = { 'kubernetes.io/metadata.name': namespace };
  const there = peer.namespaceSelector ? selects(peer.namespaceSelector, names) : namespace === own;
  return there && selects(peer.podSelector, labels);
}

/** Whether a block, without its exceptions, has this address. */
export function isWithin(
  { cidr, except = [] }: NonNullable<INetworkPolicyPeer['ipBlock']>,
  address: string,
): boolean {
  const parsed = ipaddr.parse(address);
  const has = (text: string) => {
    const [network, bits] = ipaddr.parseCIDR(text);
    return network.kind() === parsed.kind() && parsed.match(network, bits);
  };
  return has(cidr) && !except.some(has);
}
