/** deploy/minikube and deploy/cluster, with stand-ins for the programs they call. */

import { afterAll, expect, test } from 'bun:test';
import { mkdtempSync } from 'node:fs';
import { chmod, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { need } from '../support/need.ts';
import { overlay } from './manifests/all.ts';
import { run } from './manifests/read.ts';
import { versionOf } from './manifests/values.ts';

const folder = mkdtempSync(join(tmpdir(), 'kassa-scripts-'));
afterAll(() => rm(folder, { recursive: true }));

/** Records its calls, and answers like the real program where the scripts read its output. */
const STANDIN = `#!/bin/sh
name=\${0##*/}
echo "$name $*" >> "$CALLS"
case "$name $*" in
  "minikube status"*) exit 1 ;;
  *spec.replicas*) echo "$REPLICAS" ;;
  *jsonpath*) echo "$MIGRATION" ;;
  *" get crd "*"$NO_CRD"*) [ -z "$NO_CRD" ] ;;
  *"SHOW GRANTS"*) [ -z "$UNPROVISIONED" ] ;;
  "kubectl kustomize"*) echo "$BUILT" ;;
  *"apply -f -") cat >> "$CALLS" ;;
esac
`;
/** The output of kustomize for an overlay with this name of our image. */
const built = (image: string, more = '') => `kind: Deployment
        image: ${image}
      - image: other:1
---
kind: CronJob
          - image: ${image}
---
kind: Job
      - image: ${image}
${more}`;

for (const name of ['minikube', 'kubectl', 'helm', 'docker']) {
  await writeFile(join(folder, name), STANDIN);
  await chmod(join(folder, name), 0o755);
}

interface Run {
  code: number;
  out: string;
  err: string;
  calls: string[];
}
let runs = 0;
async function script(args: string, env: Record<string, string> = {}): Promise<Run> {
  const log = join(folder, `calls-${runs++}`);
  await writeFile(log, '');
  const path = env.PATH ?? `${folder}:${process.env.PATH}`;
  const base = {
    CALLS: log,
    MIGRATION: 'SuccessCriteriaMet Complete',
    NO_CRD: '',
    BUILT: built('kassa:0.1.0'),
    REPLICAS: '2',
    UNPROVISIONED: '',
  };
  const end = await run(['/bin/sh', ...args.split(' ')], { ...base, ...env, PATH: path });
  return { ...end, calls: (await readFile(log, 'utf8')).trim().split('\n').filter(Boolean) };
}

const MINIKUBE = 'deploy/minikube';
const CLUSTER = 'deploy/cluster --context somewhere --image example.com/kassa:1.2.3';

test.each([MINIKUBE, CLUSTER, `${MINIKUBE} --down`, 'deploy/cluster --context a --down'])(
  'a dry run of %s prints commands and runs none',
  async (command) => {
    const { code, out, calls } = await script(`${command} --dry-run`);
    expect([code, calls]).toEqual([0, []]);
    expect(out).toMatch(/^\+ /m);
  },
);

test('minikube: installs the image, both charts at their versions and the overlay', async () => {
  const { code, out, calls } = await script(MINIKUBE);
  expect(code).toBe(0);
  const steps = ['minikube start', 'image build', 'upgrade --install traefik', '--install kassa'];
  const places = [...steps, 'apply -f -', 'get job migrate', 'rollout status deployment/order'].map(
    (step) => calls.findIndex((call) => call.includes(step)),
  );
  expect(places).not.toContain(-1);
  expect(places).toEqual(places.toSorted((a, b) => a - b));
  const charts = calls.filter((call) => call.startsWith('helm upgrade'));
  expect(charts[0]).toContain(`--version ${await versionOf('traefik')} --kube-context kassa`);
  expect(charts[1]).toContain(`--version ${await versionOf('cockroachdb')} --kube-context kassa`);
  expect(charts.length).toBe(2);
  expect(charts.join()).not.toContain('--wait');
  expect(charts[0]).toContain('--install traefik traefik');
  expect(charts[0]).toContain('--namespace traefik ');
  expect(imagesIn(calls)).toEqual(['kassa:dev', 'other:1', 'kassa:dev', 'kassa:dev']);
  expect(out).toContain('port-forward service/traefik 8000:80');
  expect(out).toContain('port-forward service/kassa-cockroachdb-public 8080:8080');
});

const imagesIn = (calls: string[]) =>
  calls.flatMap((call) => call.match(/(?<=^ *(?:- )?image: ).+/) ?? []);

test('minikube: an init job that created no roles is repeated once, then fails', async () => {
  const { code, calls } = await script(MINIKUBE, { UNPROVISIONED: 'yes' });
  expect(code).toBe(1);
  expect(calls.filter((call) => call.includes('--install kassa')).length).toBe(2);
  expect(calls.some((call) => call.includes('apply -f -'))).toBe(false);
});

test.each([MINIKUBE, `${CLUSTER} --yes`])(
  '%s says so when the migration fails',
  async (command) => {
    const { code, err, calls } = await script(command, { MIGRATION: 'FailureTarget Failed' });
    expect(code).toBe(1);
    expect(err).toContain('The migration failed.');
    expect(calls.at(-1)).toContain('logs --selector');
  },
);

test('cluster: the certificate authority is installed before the chart, with the given image', async () => {
  const { code, calls } = await script(`${CLUSTER} --yes --gateway-api`);
  expect(code).toBe(0);
  const at = (words: string) => calls.findIndex((call) => call.includes(words));
  expect(at('apply -k k8s/overlays/production/database-ca')).toBeGreaterThan(-1);
  expect(at('certificate/kassa-cockroachdb-ca')).toBeLessThan(at('--install kassa'));
  expect(at('apply -f -')).toBeGreaterThan(at('--install kassa'));
  expect(at('kustomize k8s/overlays/production-gateway-api')).toBeGreaterThan(-1);
  expect(calls.filter((call) => /^(?:kubectl|helm) /.test(call)).every(inCluster)).toBe(true);
});
const inCluster = (call: string) =>
  / somewhere( |$)/.test(call) || call.startsWith('kubectl kustomize');

test.each([
  'kassa:0.1.0',
  'registry.example.com/shop/kassa:0.1.0',
  'r:5000/kassa-eu',
  `kassa@sha256:${'0'.repeat(64)}`,
  `r:5000/kassa:1@sha256:${'0'.repeat(64)}`,
])('cluster: the given image replaces %s', async (image) => {
  const { code, calls } = await script(`${CLUSTER} --yes`, { BUILT: built(image) });
  const ours = 'example.com/kassa:1.2.3';
  expect([code, imagesIn(calls)]).toEqual([0, [ours, 'other:1', ours, ours]]);
});

test('cluster: an overlay without our image fails before anything changes', async () => {
  const BUILT = built('kassa:0.1.0').replace('kind: Job', 'kind: Other');
  const { code, err, calls } = await script(`${CLUSTER} --yes`, { BUILT });
  expect(code).toBe(1);
  expect(err).toContain('no image in whose place example.com/kassa:1.2.3 could be put');
  expect(calls.filter((call) => !/ get crd |kustomize/.test(call))).toEqual([]);
});

test('cluster: services scaled to 0 are an error', async () => {
  const { code, out, err } = await script(`${CLUSTER} --yes`, { REPLICAS: '0' });
  expect(code).toBe(1);
  expect(out).not.toContain('Kassa runs');
  expect(err).toContain('-n kassa scale deployment order payment stock --replicas 2');
});

test('cluster: without confirmation nothing changes', async () => {
  const { code, out, calls } = await script(CLUSTER);
  expect([code, calls]).toEqual([1, []]);
  expect(out).toContain('Cluster: somewhere. Install example.com/kassa:1.2.3 into it? [y/N]');
});

test('cluster: a missing cert-manager is named with its source', async () => {
  const { code, err } = await script(`${CLUSTER} --yes`, { NO_CRD: 'cert-manager' });
  expect(code).toBe(1);
  expect(err).toContain('cert-manager: https://cert-manager.io');
});

test.each(['ServiceMonitor', 'PrometheusRule'])(
  'cluster: the Prometheus operator is required if the overlay has a %s',
  async (kind) => {
    const NO_CRD = 'monitoring.coreos.com';
    const without = await script(`${CLUSTER} --yes`, { NO_CRD });
    expect([without.code, without.err]).toEqual([0, '']);
    const BUILT = built('kassa:0.1.0', `---\nkind: ${kind}`);
    const { code, err, calls } = await script(`${CLUSTER} --yes`, { NO_CRD, BUILT });
    expect(code).toBe(1);
    expect(err).toContain(`${kind.toLowerCase()}s.monitoring.coreos.com (Prometheus operator`);
    expect(calls.some((call) => call.includes(' apply '))).toBe(false);
  },
);

test.each([
  '',
  ' --image kassa',
  ' --image kassa:latest',
  ' --image r:5000/kassa',
  ' --wrong',
  ' --image',
])('cluster refuses:%s', async (args) => {
  const { code, calls } = await script(`deploy/cluster --context a${args}`);
  expect([code, calls]).toEqual([2, []]);
});

test('cluster: --down keeps the data', async () => {
  const { code, out, calls } = await script('deploy/cluster --context somewhere --yes --down');
  expect(code).toBe(0);
  expect(calls.join()).not.toMatch(/delete[^,]*(?:namespace|persistentvolume|pvc|secret)/);
  expect(calls.some((call) => call.startsWith('helm uninstall kassa'))).toBe(true);
  expect(out).toContain('delete namespace kassa');
});

test('cluster: the way back takes everything but the data, their keys and the namespace', async () => {
  const { calls } = await script('deploy/cluster --context somewhere --yes --down');
  const deleted = calls.flatMap((call) => {
    const kinds = call.match(/ delete --ignore-not-found --selector \S+ (\S+)$/)?.[1] ?? '';
    return kinds.split(',').map((kind) => kind.replace(/\..*/, '').replace(/s$/, ''));
  });
  const objects = [...overlay('production'), ...overlay('production-gateway-api')];
  const kinds = new Set(objects.map(({ kind }) => kind.toLowerCase()));
  for (const kept of ['namespace', 'certificate', 'issuer']) kinds.delete(kept);
  const left = [...kinds].filter((kind) => !deleted.includes(kind.replace(/s$/, '')));
  expect([kinds.size > 8, left]).toEqual([true, []]);
  for (const { kind, metadata } of objects.filter(({ kind }) => kinds.has(kind.toLowerCase()))) {
    const part = metadata.labels?.['app.kubernetes.io/part-of'];
    expect([kind, metadata.name, part]).toEqual([kind, metadata.name, 'kassa']);
  }
});

test('each script names all missing programs with their sources, and stops', async () => {
  const bare = mkdtempSync(join(folder, 'bare-'));
  for (const tool of ['dirname', 'cat']) await symlink(Bun.which(tool) ?? '', join(bare, tool));
  for (const [command, tools] of [
    [MINIKUBE, ['minikube', 'kubectl', 'helm', 'docker']],
    [`${MINIKUBE} --down`, ['minikube']],
    [CLUSTER, ['kubectl', 'helm']],
  ] as const) {
    const { code, err, out } = await script(command, { PATH: bare });
    expect([code, out]).toEqual([1, '']);
    expect(err.match(/(?<=^missing: )\w+(?= \(https:)/gm)).toEqual([...tools]);
  }
});

const shellcheck = need('shellcheck');
test.skipIf(!shellcheck)('shellcheck finds nothing in the scripts', async () => {
  const scripts = ['helm-config/charts.sh', 'deploy/cockroach-init.sh', '.ci/run'];
  const { out } = await run([shellcheck ?? '', MINIKUBE, 'deploy/cluster', ...scripts]);
  expect(out).toBe('');
});
