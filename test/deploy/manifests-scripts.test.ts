/** deploy/minikube and deploy/cluster, with stand-ins for the programs they call. */

import { afterAll, expect, test } from 'bun:test';
import { chmod, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { need } from '../support/need.ts';
import { openStage } from '../support/process.ts';
import { overlay } from './manifests/all.ts';
import { run } from './manifests/read.ts';
import { versionOf } from './manifests/values.ts';

const stage = openStage();
const folder = await stage.folder();
afterAll(() => stage.clear());

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

let runs = 0;
/** Runs a script with these arguments. @returns how it ended, and what it called */
async function script(args: string, env: Record<string, string> = {}) {
  const log = join(folder, `calls-${runs++}`);
  await writeFile(log, '');
  const end = run(['/bin/sh', ...args.split(' ')], {
    CALLS: log,
    MIGRATION: 'SuccessCriteriaMet Complete',
    NO_CRD: '',
    BUILT: built('kassa:0.1.0'),
    REPLICAS: '2',
    UNPROVISIONED: '',
    PATH: `${folder}:${process.env.PATH}`,
    ...env,
  });
  return { ...end, calls: (await readFile(log, 'utf8')).trim().split('\n').filter(Boolean) };
}

const MINIKUBE = 'deploy/minikube';
const CLUSTER = 'deploy/cluster --context somewhere --image example.com/kassa:1.2.3';
const YES = `${CLUSTER} --yes`;

test.each([MINIKUBE, CLUSTER, `${MINIKUBE} --down`, 'deploy/cluster --context a --down'])(
  'a dry run of %s prints commands and runs none',
  async (command) => {
    const { code, out, calls } = await script(`${command} --dry-run`);
    expect([code, calls]).toEqual([0, []]);
    expect(out).toMatch(/^\+ /m);
  },
);

function expectInOrder(calls: string[], ...steps: string[]): void {
  const places = steps.map((step) => calls.findIndex((call) => call.includes(step)));
  expect(places).not.toContain(-1);
  expect(places).toEqual(places.toSorted((a, b) => a - b));
}

test('minikube: installs the image, both charts at their versions and the overlay', async () => {
  const { code, out, calls } = await script(MINIKUBE);
  expect(code).toBe(0);
  const [first, second] = [
    'upgrade --install traefik traefik',
    'upgrade --install kassa cockroach',
  ];
  const applied = ['apply -f -', 'get job migrate', 'rollout status deployment/order'];
  expectInOrder(calls, 'minikube start', 'image build', first, second, ...applied);
  const charts = calls.filter((call) => call.startsWith('helm upgrade'));
  expect(charts).toEqual([
    expect.stringContaining(`--version ${await versionOf('traefik')} --kube-context kassa`),
    expect.stringContaining(`--version ${await versionOf('cockroachdb')} --kube-context kassa`),
  ]);
  expect(charts.join()).not.toContain('--wait');
  expect(charts[0]).toContain('--namespace traefik ');
  expect(imagesIn(calls)).toEqual(['kassa:dev', 'other:1', 'kassa:dev', 'kassa:dev']);
  expect(out).toContain('port-forward service/traefik 8000:80');
  expect(out).toContain('port-forward service/kassa-cockroachdb-public 8080:8080');
});

const imagesIn = (calls: string[]) =>
  calls.flatMap((call) => call.match(/(?<=^ *(?:- )?image: ).+/) ?? []);

test('cluster: the certificate authority is installed before the chart', async () => {
  const { code, calls } = await script(`${YES} --gateway-api`);
  expect(code).toBe(0);
  const authority = ['production/database-ca', 'certificate/kassa-cockroachdb-ca'];
  expectInOrder(calls, 'kustomize k8s/overlays/production-gateway-api', ...authority);
  expectInOrder(calls, ...authority, 'upgrade --install kassa', 'apply -f -');
  const elsewhere = calls.filter((call) => /^(?:kubectl|helm) (?!.* somewhere( |$))/.test(call));
  expect(elsewhere).toEqual([expect.stringContaining('kubectl kustomize')]);
});

test.each([
  'kassa:0.1.0',
  'registry.example.com/shop/kassa:0.1.0',
  'r:5000/kassa-eu',
  `kassa@sha256:${'0'.repeat(64)}`,
  `r:5000/kassa:1@sha256:${'0'.repeat(64)}`,
])('cluster: the given image replaces %s', async (image) => {
  const { code, calls } = await script(YES, { BUILT: built(image) });
  const ours = 'example.com/kassa:1.2.3';
  expect([code, imagesIn(calls)]).toEqual([0, [ours, 'other:1', ours, ours]]);
});

const NO_OPERATOR = 'monitoring.coreos.com';
const wants = (kind: string) => {
  return { NO_CRD: NO_OPERATOR, BUILT: built('kassa:0.1.0', `---\nkind: ${kind}`) };
};
const OTHER = { BUILT: built('kassa:0.1.0').replace('kind: Job', 'kind: Other') };
const failures: [what: string, args: string, env: object, said: string, applied: boolean][] = [
  ['the migration fails', MINIKUBE, { MIGRATION: 'Failed' }, 'The migration failed.', true],
  ['the migration fails', YES, { MIGRATION: 'Failed' }, 'The migration failed.', true],
  ['services are scaled to 0', YES, { REPLICAS: '0' }, '-n kassa scale deployment order', true],
  ['the init job creates no roles', MINIKUBE, { UNPROVISIONED: 'yes' }, '', false],
  ['the overlay has not our image', YES, OTHER, 'no image in whose place example.com/kassa', false],
  ['there is no cert-manager', YES, { NO_CRD: 'cert-manager' }, 'https://cert-manager.io', false],
  ['there is no operator', YES, wants('ServiceMonitor'), 'servicemonitors.monitoring', false],
  [
    'nothing reads its rules',
    YES,
    wants('PrometheusRule'),
    `prometheusrules.${NO_OPERATOR}`,
    false,
  ],
];
test.each(failures)('if %s, %s fails', async (_, args, env, said, applied) => {
  const { code, out, err, calls } = await script(args, { ...env });
  expect([code, out]).toEqual([1, expect.not.stringContaining('Kassa runs')]);
  expect(err).toContain(said);
  expect(calls.some((call) => call.includes('apply -f -'))).toBe(applied);
  // Before the cluster fails for want of something, nothing changes in it.
  const asked = calls.filter((call) => / get crd |kubectl kustomize/.test(call));
  if (!applied && args === YES) expect(calls).toEqual(asked);
});

test('a failed migration ends with its log, and missing roles with a second try', async () => {
  const { calls } = await script(MINIKUBE, { MIGRATION: 'FailureTarget Failed' });
  expect(calls.at(-1)).toContain('logs --selector');
  const second = await script(MINIKUBE, { UNPROVISIONED: 'yes' });
  expect(second.calls.filter((call) => call.includes('--install kassa')).length).toBe(2);
});

test('cluster: says at the end how to make the first key', async () => {
  const { code, out } = await script(YES);
  expect(code).toBe(0);
  expect(out).toMatch(
    /makes the first one.*\n {2}kubectl --context somewhere -n kassa exec deployment\/webhooks -- \\\n.* keys create --id ops --scopes admin\n/,
  );
});

test('cluster: without monitoring in the overlay no operator is needed', async () => {
  const { code, err } = await script(YES, { NO_CRD: NO_OPERATOR });
  expect([code, err]).toEqual([0, '']);
});

test('cluster: without confirmation nothing changes', async () => {
  const { code, out, calls } = await script(CLUSTER);
  expect([code, calls]).toEqual([1, []]);
  expect(out).toContain('Cluster: somewhere. Install example.com/kassa:1.2.3 into it? [y/N]');
});

const badImages = ['kassa', 'kassa:latest', 'r:5000/kassa'].map((image) => ` --image ${image}`);
test.each(['', ...badImages, ' --wrong', ' --image'])('cluster refuses:%s', async (args) => {
  const { code, calls } = await script(`deploy/cluster --context a${args}`);
  expect([code, calls]).toEqual([2, []]);
});

test('cluster: --down takes everything but the data, their keys and the namespace', async () => {
  const { code, out, calls } = await script('deploy/cluster --context somewhere --yes --down');
  expect(code).toBe(0);
  expect(calls.some((call) => call.startsWith('helm uninstall kassa'))).toBe(true);
  expect(out).toContain('delete namespace kassa');
  const deleted = calls.flatMap((call) => {
    const kinds = call.match(/ delete --ignore-not-found --selector \S+ (\S+)$/)?.[1] ?? '';
    return kinds.split(',').map((kind) => kind.replace(/\..*/, '').replace(/s$/, ''));
  });
  expect(calls.join()).not.toMatch(/delete[^,]*(?:namespace|persistentvolume|pvc|secret)/);
  const objects = [...overlay('production'), ...overlay('production-gateway-api')];
  const kept = ['Namespace', 'Certificate', 'Issuer'];
  const ours = objects.filter(({ kind }) => !kept.includes(kind));
  expect(ours.length).toBeGreaterThan(8);
  for (const { kind, metadata } of ours) {
    expect(deleted).toContain(kind.toLowerCase().replace(/s$/, ''));
    expect(metadata.labels?.['app.kubernetes.io/part-of']).toBe('kassa');
  }
});

test('each script names all missing programs with their sources, and stops', async () => {
  const bare = await stage.folder();
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
test.skipIf(!shellcheck)('shellcheck finds nothing in the scripts', () => {
  const scripts = ['helm-config/charts.sh', 'deploy/cockroach-init.sh', '.ci/run'];
  const { out } = run([shellcheck ?? '', MINIKUBE, 'deploy/cluster', ...scripts]);
  expect(out).toBe('');
});
