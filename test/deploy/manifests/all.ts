/** All overlays, rendered once, and the rules that they must keep. */
import { need } from '../../support/need.ts';
import { build } from './build.ts';
import { badCertificates, environmentOf, misconfigured, readProduct } from './configuration.ts';
import { badJobs } from './jobs.ts';
import { badMonitors, badRoutes, badTargets, deadServices } from './links.ts';
import { unknownPorts } from './network.ts';
import { danglingReferences, looseEnds, podsOf, unprobed } from './pods.ts';
import { type Manifest, parseYaml, readYaml, run } from './read.ts';

export const OVERLAYS = ['minikube', 'production', 'production-gateway-api'];

/** Renders too, where it is installed: both must agree. */
export const kubectl = need('kubectl', 'https://kubernetes.io/docs/tasks/tools');

/** The objects of each folder that people apply. */
export const built = new Map<string, Manifest[]>();
for (const folder of [
  ...OVERLAYS.map((name) => `k8s/overlays/${name}`),
  'stress-test/kubernetes',
]) {
  built.set(folder, await build(folder));
}
export const overlay = (name: string): Manifest[] => built.get(`k8s/overlays/${name}`) ?? [];
export const locust = built.get('stress-test/kubernetes') ?? [];
export const tools = await readYaml<Manifest>('k8s/tools/root-shell.yaml');
export const product = await readProduct();

/** The environment of a service in production. */
export const settings = podsOf(overlay('production'))
  .slice(0, 1)
  .flatMap(({ spec }) => spec.containers)
  .map((container) => environmentOf(container, overlay('production')))
  .reduce((_, environment) => environment, {});

/** Every violation in an overlay, one sentence each. */
export const complaints = (objects: Manifest[]): string[] => [
  ...looseEnds(objects),
  ...unprobed(objects, Number(settings.DRAIN_MS), product.paths),
  ...danglingReferences(objects),
  ...badJobs(objects),
  ...deadServices(objects),
  ...badRoutes(objects),
  ...badMonitors(objects, product.paths),
  ...badTargets(objects),
  ...unknownPorts(objects),
  ...misconfigured(objects, product),
  ...badCertificates(objects),
];

/** As `kubectl kustomize` renders a folder. Names of generated ConfigMaps lose the hash of their content, which changes with every edit. */
export async function render(program: string, folder: string): Promise<Manifest[]> {
  const { code, out, err } = await run([program, 'kustomize', folder]);
  if (code !== 0 || err !== '') throw new Error(`kubectl kustomize ${folder}: ${err}`);
  return parseYaml<Manifest>(
    folder,
    out.replaceAll(/(?<= name: .+)-[2456789bcdfghkmt]{10}$/gm, ''),
  );
}
