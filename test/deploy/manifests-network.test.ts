/** The rules see network policies that allow too much or too little. */
import { expect, test } from 'bun:test';
import { overlay } from './manifests/all.ts';
import { broken } from './manifests/break.ts';
import { reachable } from './manifests/network.ts';

const ways: [object: string, path: string, value: unknown, way: string, open: boolean][] = [
  ['NetworkPolicy default-deny', 'spec.policyTypes', ['Egress'], 'elsewhere → stranger 80', true],
  [
    'NetworkPolicy services',
    'spec.ingress.0.from',
    [{ podSelector: {} }],
    'traefik → order 8001',
    false,
  ],
  ['NetworkPolicy services', 'spec.podSelector', {}, 'traefik → cockroachdb 8080', true],
  [
    'NetworkPolicy services',
    'spec.ingress.0.ports.0.port',
    'metrics',
    'traefik → order 9000',
    true,
  ],
  ['NetworkPolicy services', 'spec.ingress.1.ports', [], 'prometheus → order 9000', false],
  [
    'NetworkPolicy database',
    'spec.ingress.0.from.0',
    { namespaceSelector: {} },
    'traefik → cockroachdb 26257',
    true,
  ],
  [
    'NetworkPolicy database',
    'spec.podSelector.matchLabels',
    { a: 'b' },
    'order → cockroachdb 26257',
    false,
  ],
  [
    'NetworkPolicy database-clients',
    'spec.egress.0.ports.0.port',
    8080,
    'order → cockroachdb 26257',
    false,
  ],
  [
    'NetworkPolicy database-clients',
    'spec.egress.0.ports.0.port',
    443,
    'audit → cockroachdb 26257',
    false,
  ],
  [
    'NetworkPolicy database-peers',
    'spec.podSelector.matchLabels',
    { a: 'b' },
    'init → cockroachdb 26257',
    false,
  ],
  ['NetworkPolicy dns', 'spec.egress.0.to.0.podSelector', {}, 'order → kube-system 443', false],
  [
    'NetworkPolicy dns',
    'spec.egress.0.to',
    [{ ipBlock: { cidr: '0.0.0.0/0' } }],
    'order → dns 53',
    false,
  ],
];
test.each(ways)('when %s has %s %j', (name, path, value, way, open) => {
  const after = reachable(broken(overlay('production'), name, path, value));
  expect([way, after.includes(way)]).toEqual([way, open]);
});
