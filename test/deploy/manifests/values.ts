/** Values for the Helm charts, compared with the published charts. */
import { Ajv } from 'ajv';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { readOne, text } from './read.ts';

// biome-ignore lint/suspicious/noExplicitAny: each chart has another shape
export type Values = { [key: string]: any };

/** The installations: a chart with its values files, in order. */
export const INSTALLS = [
  { chart: 'cockroachdb', files: ['cockroachdb', 'cockroachdb-development'] },
  { chart: 'cockroachdb', files: ['cockroachdb', 'cockroachdb-production'] },
  { chart: 'traefik', files: ['traefik', 'traefik-development'] },
  { chart: 'traefik', files: ['traefik', 'traefik-production'] },
  { chart: 'traefik', files: ['traefik', 'traefik-production', 'traefik-gateway-api'] },
] as const;

/** The version in helm-config/charts.sh, the only place that has it. */
export async function versionOf(chart: string): Promise<string> {
  const pattern = new RegExp(`^${chart.toUpperCase()}_CHART=(\\S+)$`, 'm');
  return (await text('helm-config/charts.sh')).match(pattern)?.[1] ?? 'none';
}

/** The published values and schema of that version, from test/deploy/data. */
async function readChart(chart: string): Promise<{ values: Values; schema: object }> {
  const path = `test/deploy/data/${chart}-chart-${await versionOf(chart)}.values`;
  const schema = JSON.parse(await text(`${path}.schema.json`));
  return { values: await readOne(`${path}.yaml`), schema };
}

const isMap = (value: unknown): value is Values =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Merges like Helm: maps are merged, all else is replaced. */
function merge(base: Values, over: Values): Values {
  const merged = { ...base };
  for (const [key, value] of Object.entries(over)) {
    const before = merged[key];
    merged[key] = isMap(before) && isMap(value) ? merge(before, value) : value;
  }
  return merged;
}

export async function readValues(files: readonly string[]): Promise<Values> {
  const read = files.map((file) => readOne<Values>(`helm-config/${file}.yaml`));
  return (await Promise.all(read)).reduce(merge);
}
export const development = await readValues(INSTALLS[0].files);
export const production = await readValues(INSTALLS[1].files);

export const charts = {
  cockroachdb: await readChart('cockroachdb'),
  traefik: await readChart('traefik'),
};

/** Maps with free keys, and Kubernetes objects that the chart passes through. */
const FREE = /(?:^|\.)(?:labels|annotations|podLabels|resources|lifecycle|namespacePolicy|spec)$/;

/** Keys that the chart's values do not have. */
function unknownValues(values: Values, known: Values, path = ''): string[] {
  return Object.entries(values).flatMap(([key, value]) => {
    const here = path ? `${path}.${key}` : key;
    if (!(key in known)) return [`${here} is no key of the chart`];
    const below = known[key];
    if (FREE.test(here) || !isMap(value) || !isMap(below)) return [];
    return unknownValues(value, below, here);
  });
}

/** What the chart does not know, and violations of its schema after merging with its values. */
export function faultsIn(values: Values, chart: keyof typeof charts): string[] {
  const published = charts[chart];
  const merged = merge(published.values, values);
  return [...unknownValues(values, published.values), ...violations(merged, published.schema)];
}

/** Violations of a JSON schema, of draft 7 or 2020-12. */
export function violations(value: unknown, schema: object): string[] {
  const { $schema: draft, ...rules } = schema as { $schema?: string };
  const options = { strict: false, allErrors: true, logger: false as const };
  const ajv = draft?.includes('2020-12') ? new Ajv2020(options) : new Ajv(options);
  const validate = ajv.compile(rules);
  validate(value);
  return (validate.errors ?? []).map(({ instancePath, message }) => `${instancePath} ${message}`);
}
