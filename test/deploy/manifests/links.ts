/** Rules for references to pods and Services: selectors, ports, routes, targets. */
import { podsOf, portOf } from './pods.ts';
import { type Manifest, nameOf, ofKind, type Selector, selects } from './read.ts';

interface Service {
  spec: {
    selector: Record<string, string>;
    ports: { name: string; port: number; targetPort: string | number }[];
  };
}

/** Services that select no pod, or a port that its container does not have. */
export function deadServices(objects: Manifest[]): string[] {
  const pods = podsOf(objects);
  return ofKind<Service>(objects, 'Service').flatMap((service) => {
    const { selector, ports } = service.spec;
    const chosen = pods.filter(({ labels }) => selects({ matchLabels: selector }, labels));
    if (chosen.length !== 1)
      return [`${nameOf(service)} selects ${chosen.length} workloads, not 1`];
    const containers = chosen.flatMap(({ spec }) => spec.containers);
    return ports
      .filter(({ targetPort }) => !containers.some((container) => portOf(container, targetPort)))
      .map(({ targetPort }) => `${nameOf(service)} sends to no port ${targetPort}`);
  });
}

interface Backend {
  name: string;
  port: string | number;
}
interface Ingress {
  spec: {
    ingressClassName?: string;
    rules: {
      host?: string;
      http: {
        paths: {
          path: string;
          pathType: string;
          backend: { service: { name: string; port: { name?: string; number?: number } } };
        }[];
      };
    }[];
  };
}
interface HttpRoute {
  spec: {
    rules: {
      matches: { method?: string; path: { type: string; value: string } }[];
      filters?: unknown[];
      backendRefs: Backend[];
    }[];
  };
}

/** Path prefix and Service of each route of an Ingress or HTTPRoute: `/orders → order`. */
export function routesOf(objects: Manifest[]): string[] {
  return [...new Set(routes(objects).map(({ path, backend }) => `${path} → ${backend.name}`))];
}

function routes(objects: Manifest[]): { path: string; backend: Backend }[] {
  const ingresses = ofKind<Ingress>(objects, 'Ingress').flatMap(({ spec }) =>
    spec.rules.flatMap(({ http }) =>
      http.paths.map(({ path, backend: { service } }) => {
        const port = service.port.name ?? service.port.number ?? '';
        return { path, backend: { name: service.name, port } };
      }),
    ),
  );
  const httpRoutes = ofKind<HttpRoute>(objects, 'HTTPRoute').flatMap(({ spec }) =>
    spec.rules.flatMap(({ matches, backendRefs }) =>
      matches.flatMap(({ path }) => backendRefs.map((backend) => ({ path: path.value, backend }))),
    ),
  );
  return [...ingresses, ...httpRoutes];
}

/** Routes that only some controllers support, that rewrite paths, or that lead nowhere. */
export function badRoutes(objects: Manifest[]): string[] {
  const services = ofKind<Service>(objects, 'Service');
  const wrong = routes(objects).flatMap(({ path, backend }) => {
    const service = services.find(({ metadata }) => metadata.name === backend.name);
    const { port } = backend;
    const found = service?.spec.ports.find((each) => each.name === port || each.port === port);
    if (!found) return [`${path} leads to no Service ${backend.name} with a port ${port}`];
    return found.targetPort === 'http' ? [] : [`${path} leads to the port ${found.targetPort}`];
  });
  for (const ingress of ofKind<Ingress>(objects, 'Ingress')) {
    if (ingress.metadata.annotations) wrong.push('the Ingress has annotations');
    if (ingress.spec.ingressClassName) wrong.push('the Ingress names a class');
    const types = ingress.spec.rules.flatMap(({ http }) => http.paths.map((path) => path.pathType));
    if (types.some((type) => type !== 'Prefix'))
      wrong.push('the Ingress leaves paths to its class');
  }
  const rules = ofKind<HttpRoute>(objects, 'HTTPRoute').flatMap(({ spec }) => spec.rules);
  if (rules.some(({ filters }) => filters)) wrong.push('the HTTPRoute filters');
  for (const { matches } of rules) {
    const methods = matches.map(({ method }) => method).join(', ');
    if (methods !== METHODS) wrong.push(`the HTTPRoute lets pass ${methods}, not ${METHODS}`);
  }
  return wrong;
}
/** The methods that the services' runtime answers on every path. */
const METHODS = 'GET, HEAD, POST, DELETE, PUT, PATCH, OPTIONS';

interface Monitor {
  spec: { selector: Selector; endpoints: { port: string; path: string }[] };
}

/** ServiceMonitors must cover all our Services, on the metrics port and path only. */
export function badMonitors(objects: Manifest[], paths: Set<string>): string[] {
  const services = ofKind<Service>(objects, 'Service');
  const monitors = ofKind<Monitor>(objects, 'ServiceMonitor');
  const wrong: string[] = [];
  const scraped: Service[] = [];
  for (const monitor of monitors) {
    const its = services.filter(({ metadata }) =>
      selects(monitor.spec.selector, metadata.labels ?? {}),
    );
    scraped.push(...its);
    for (const { port, path } of its.length > 0 ? monitor.spec.endpoints : []) {
      if (!paths.has(path)) wrong.push(`${nameOf(monitor)} asks for ${path}`);
      for (const service of its) {
        const at = service.spec.ports.find(({ name }) => name === port);
        if (at?.targetPort !== 'metrics') wrong.push(`${nameOf(monitor)} asks on port ${port}`);
      }
    }
  }
  const forgotten = services.filter((service) => !scraped.includes(service));
  if (monitors.length > 0) wrong.push(...forgotten.map((each) => `nobody scrapes ${nameOf(each)}`));
  return wrong;
}

interface Autoscaler {
  spec: {
    scaleTargetRef: { apiVersion: string; kind: string; name: string };
    minReplicas: number;
    maxReplicas: number;
  };
}
interface Budget {
  spec: { maxUnavailable?: number; minAvailable?: number; selector: Selector };
}

/** Every Deployment needs one autoscaler and one disruption budget, and vice versa. */
export function badTargets(objects: Manifest[]): string[] {
  const wrong: string[] = [];
  const deployments = ofKind<{ spec: { replicas?: number } }>(objects, 'Deployment');
  const autoscalers = ofKind<Autoscaler>(objects, 'HorizontalPodAutoscaler');
  const budgets = ofKind<Budget>(objects, 'PodDisruptionBudget');
  const targets = autoscalers.map(({ spec: { scaleTargetRef: at } }) => `${at.kind} ${at.name}`);
  for (const autoscaler of autoscalers) {
    const { minReplicas, maxReplicas } = autoscaler.spec;
    if (minReplicas > maxReplicas)
      wrong.push(`${nameOf(autoscaler)} has a minimum over its maximum`);
  }
  for (const deployment of deployments) {
    const name = nameOf(deployment);
    if (targets.filter((target) => target === name).length !== 1)
      wrong.push(`${name}: no autoscaler`);
    if (deployment.spec.replicas !== undefined) wrong.push(`${name} and its autoscaler both count`);
    const [pod] = podsOf([deployment]);
    const own = budgets.filter(({ spec }) => selects(spec.selector, pod?.labels ?? {}));
    if (own.length !== 1) wrong.push(`${name} has ${own.length} disruption budgets, not 1`);
  }
  if (targets.length !== deployments.length) wrong.push('an autoscaler without a Deployment');
  if (budgets.length !== deployments.length) wrong.push('a disruption budget without a Deployment');
  const rigid = budgets.filter(({ spec }) => spec.maxUnavailable !== 1);
  return [...wrong, ...rigid.map((budget) => `${nameOf(budget)} is not maxUnavailable 1`)];
}

/** The most pods of all Deployments together. */
export const podsAtMost = (objects: Manifest[]): number =>
  ofKind<Autoscaler>(objects, 'HorizontalPodAutoscaler')
    .map(({ spec }) => spec.maxReplicas)
    .reduce((sum, replicas) => sum + replicas, 0);
