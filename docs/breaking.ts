/** What of a change to an OpenAPI document breaks clients that were made for the old one. */

export interface Schema {
  type?: string;
  const?: unknown;
  enum?: unknown[];
  pattern?: string;
  minimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
  minItems?: number;
  maxItems?: number;
  properties?: Record<string, Schema>;
  required?: string[];
  items?: Schema;
  prefixItems?: Schema[];
}
interface Parameter {
  $ref?: string;
  name: string;
  in: string;
  required?: boolean;
  schema: Schema;
}
type Content = Record<string, { schema: Schema }>;
interface Response {
  $ref?: string;
  content?: Content;
}
interface Operation {
  operationId: string;
  parameters?: Parameter[];
  requestBody?: { required?: boolean; content: Content };
  responses: Record<string, Response>;
}
export interface Document {
  paths: Record<string, Record<string, Operation>>;
  components: { parameters: Record<string, Parameter> };
}

/** @returns one sentence for each break; none if every client goes on working */
export function whatBreaks(old: Document, now: Document): string[] {
  const breaks: string[] = [];
  for (const [path, operations] of Object.entries(old.paths)) {
    for (const [method, before] of Object.entries(operations)) {
      const call = `${method.toUpperCase()} ${path}`;
      const after = now.paths[path]?.[method];
      if (after) breaks.push(...ofOperation(call, before, after, old, now));
      else breaks.push(`${call} is gone`);
    }
  }
  return breaks;
}

function ofOperation(
  call: string,
  before: Operation,
  after: Operation,
  old: Document,
  now: Document,
): string[] {
  const breaks: string[] = [];
  if (before.operationId !== after.operationId) {
    breaks.push(`${call} is named ${after.operationId}, not ${before.operationId}`);
  }
  const known = parametersOf(before, old);
  for (const [name, { required = false, schema }] of parametersOf(after, now)) {
    const had = known.get(name);
    if (required && !had?.required) breaks.push(`${call} requires ${name}`);
    if (had) breaks.push(...narrowed(had.schema, schema, `${call} ${name}`));
  }
  for (const name of known.keys()) {
    if (!parametersOf(after, now).has(name)) breaks.push(`${call} no longer takes ${name}`);
  }
  breaks.push(...ofBody(call, before, after));
  for (const [status, { content = {} }] of Object.entries(before.responses)) {
    if (!/^2/.test(status)) continue; // the codes of failures may change: clients read `code`
    const later = after.responses[status];
    if (!later) breaks.push(`${call} no longer answers ${status}`);
    for (const [type, { schema }] of Object.entries(content)) {
      const wider = later?.content?.[type]?.schema;
      if (wider) breaks.push(...narrowed(wider, schema, `${call} answers`));
      else if (later) breaks.push(`${call} no longer answers ${type}`);
    }
  }
  return breaks;
}

function ofBody(call: string, before: Operation, after: Operation): string[] {
  if (!after.requestBody) return before.requestBody ? [`${call} no longer takes a body`] : [];
  const had = before.requestBody;
  if (!had) return after.requestBody.required ? [`${call} requires a body`] : [];
  return Object.entries(had.content).flatMap(([type, { schema }]) => {
    const later = after.requestBody?.content[type]?.schema;
    return later
      ? narrowed(schema, later, `${call} body`, true)
      : [`${call} no longer takes ${type}`];
  });
}

function parametersOf({ parameters = [] }: Operation, document: Document): Map<string, Parameter> {
  const { components } = document;
  const known = parameters.map((one) => {
    return one.$ref ? components.parameters[one.$ref.split('/').at(-1) ?? ''] : one;
  });
  return new Map(known.flatMap((one) => (one ? [[one.name, one]] : [])));
}

/**
 * Why a value that fits `wide` may not fit `narrow`. For what clients send, `wide` is the old
 * schema; for what they receive, the new one.
 * @param exact fields that `narrow` does not have are refused, and not ignored
 */
function narrowed(wide: Schema, narrow: Schema, where: string, exact = false): string[] {
  const differs = (name: 'type' | 'const' | 'pattern') =>
    narrow[name] !== undefined && narrow[name] !== wide[name]
      ? [`${where}: ${name} ${wide[name] ?? 'any'} is not ${narrow[name]}`]
      : [];
  const bound = (low: keyof Schema, high: keyof Schema) => [
    ...(Number(narrow[low] ?? -Infinity) > Number(wide[low] ?? -Infinity) ? [low] : []),
    ...(Number(narrow[high] ?? Infinity) < Number(wide[high] ?? Infinity) ? [high] : []),
  ];
  const bounds = [
    ...bound('minimum', 'maximum'),
    ...bound('minLength', 'maxLength'),
    ...bound('minItems', 'maxItems'),
  ];
  const more = wide.enum ?? (narrow.enum ? ['any value'] : []);
  const others = narrow.enum ? more.filter((value) => !narrow.enum?.includes(value)) : [];
  return [
    ...differs('type'),
    ...differs('const'),
    ...differs('pattern'),
    ...bounds.map((name) => `${where}: ${name} ${wide[name] ?? 'none'} is not ${narrow[name]}`),
    ...others.map((value) => `${where}: ${value} is not among its values`),
    ...ofFields(wide, narrow, where, exact),
    ...(wide.items && narrow.items ? narrowed(wide.items, narrow.items, `${where}[]`, exact) : []),
    ...(narrow.prefixItems ?? []).flatMap((one, i) =>
      narrowed(wide.prefixItems?.[i] ?? {}, one, `${where}[${i}]`, exact),
    ),
  ];
}

function ofFields(wide: Schema, narrow: Schema, where: string, exact: boolean): string[] {
  const gone = Object.keys(wide.properties ?? {}).filter((name) => !narrow.properties?.[name]);
  const missing = (narrow.required ?? []).filter((name) => !wide.required?.includes(name));
  return [
    ...(exact ? gone : []).map((name) => `${where}: ${name} is refused`),
    ...missing.map((name) => `${where}: ${name} is not always there`),
    ...Object.entries(narrow.properties ?? {}).flatMap(([name, schema]) => {
      const wider = wide.properties?.[name];
      return wider ? narrowed(wider, schema, `${where}.${name}`, exact) : [];
    }),
  ];
}
