/** Fields on the docs page: a row for each, from the same schemas as in the OpenAPI document. */
import { html } from 'hono/html';
import { z } from 'zod';
import { AMOUNT_MAX } from '../contract/values.ts';

export interface Schema {
  type?: string;
  const?: unknown;
  enum?: unknown[] | undefined;
  default?: unknown;
  examples?: unknown[];
  description?: string;
  format?: string;
  pattern?: string;
  /** What a text must be, in words. */
  rule?: string;
  minimum?: number;
  maximum?: number;
  maxLength?: number;
  minItems?: number;
  maxItems?: number;
  maxProperties?: number;
  required?: string[];
  properties?: Record<string, Schema>;
  propertyNames?: Schema;
  additionalProperties?: Schema | false;
  items?: Schema;
  oneOf?: Schema[];
  prefixItems?: Schema[];
}

export interface Field {
  name: string;
  schema: Schema;
  required: boolean;
}

/** The schema of OpenAPI, with the rules for texts in the words of their refusals. */
export function schemaOf(type: z.ZodType, io: 'input' | 'output' = 'output'): Schema {
  return z.toJSONSchema(type, {
    io,
    override({ zodSchema, jsonSchema }) {
      const checks = (zodSchema._zod.def as unknown as { checks?: Check[] }).checks ?? [];
      const said = checks.map(({ _zod }) => _zod.def.pattern && _zod.def.error?.({ input: '' }));
      const rule = said.find((one) => typeof one === 'string');
      if (rule) Object.assign(jsonSchema, { rule: rule.replace(/^must be /, '') });
    },
  }) as Schema;
}

interface Check {
  _zod: { def: { pattern?: RegExp; error?: (issue: { input: unknown }) => unknown } };
}

/** The fields of an object, each followed by those within it: `lines`, `lines[].item_id`. */
export const fieldsOf = (type: z.ZodType, io: 'input' | 'output' = 'output'): Field[] =>
  within(schemaOf(type, io), '');

const within = (object: Schema, before: string): Field[] => {
  const { properties = {}, required = [] } = object.oneOf ? common(object.oneOf) : object;
  return Object.entries(properties).flatMap(([key, schema]): Field[] => {
    const name = before + key;
    return [
      { name, schema, required: required.includes(key) },
      ...within(schema, `${name}.`),
      ...within(schema.items ?? {}, `${name}[].`),
    ];
  });
};

/** One object for several that differ by the value of a field, as events do by their type. */
function common([first = {}, ...others]: readonly Schema[]): Schema {
  const fields = Object.entries(first.properties ?? {}).map(([name, field]) => {
    const all = [field, ...others.map(({ properties }) => properties?.[name] ?? {})];
    const same = all.every((one) => JSON.stringify(one) === JSON.stringify(field));
    const { type = 'any', description = '' } = field;
    if (same) return [name, field];
    if ('const' in field) return [name, { type, description, enum: all.map((one) => one.const) }];
    return [name, { type, description: 'Its fields depend on the type: see "Types of events".' }];
  });
  return { ...first, properties: Object.fromEntries(fields) };
}

/** @param which says of a field whether it must be there */
export function tableOf(
  caption: string,
  fields: readonly Field[],
  which: { required: string; optional: string },
) {
  if (fields.length === 0) return '';
  return html`<table>
<caption>${caption}</caption>
${fields.map(({ name, schema, required }) => {
  const presence = required ? which.required : which.optional;
  const limits = limitsOf(schema);
  return html`<tr><td><code>${name}</code><td>${[typeOf(schema), presence].filter(Boolean).join(', ')}${
    limits.length > 0 && html`<br>${limits.map((limit, i) => [i > 0 ? '; ' : '', limit])}`
  }<td>${prose(schema.description ?? '')}
`;
})}</table>
`;
}

/** Text in which `backticks` are code. */
export const prose = (text: string) =>
  text.split('`').map((part, i) => (i % 2 === 0 ? part : html`<code>${part}</code>`));

function typeOf({ type = 'any', items, oneOf, additionalProperties }: Schema): string {
  if (items) {
    const one = typeOf(items);
    return one === 'array' ? 'list of lists' : `list of ${one}s`;
  }
  if (oneOf) return 'object';
  return additionalProperties && type === 'object' && additionalProperties.type
    ? `{string: ${additionalProperties.type}}`
    : type;
}

function limitsOf(schema: Schema) {
  const { minimum, maximum, minItems = 0, maxItems, maxProperties, pattern, rule, format } = schema;
  const { enum: named, propertyNames, additionalProperties } = schema;
  const code = (value: unknown) => html`<code>${value}</code>`;
  const value_max = additionalProperties ? additionalProperties.maxLength : undefined;
  return [
    ...('const' in schema ? [html`always ${code(JSON.stringify(schema.const))}`] : []),
    ...(named ? [named.map((one, i) => [i > 0 ? ', ' : '', code(one)])] : []),
    ...(minimum !== undefined && maximum !== undefined
      ? [`${short(minimum)} to ${short(maximum)}`]
      : []),
    ...(maxItems !== undefined ? [`${minItems} to ${maxItems} entries`] : []),
    ...(maxProperties !== undefined ? [`at most ${maxProperties} entries`] : []),
    ...(propertyNames?.rule ? [`names: ${propertyNames.rule}`] : []),
    ...(value_max !== undefined ? [`values: at most ${value_max} characters`] : []),
    ...(format === 'date-time'
      ? ['RFC 3339, UTC']
      : rule
        ? [prose(rule)]
        : pattern
          ? [code(pattern)]
          : []),
    ...('default' in schema ? [html`default ${code(JSON.stringify(schema.default))}`] : []),
  ];
}

function short(bound: number): string {
  if (bound === AMOUNT_MAX) return '2^53-1';
  return bound === -AMOUNT_MAX ? '-(2^53-1)' : `${bound}`;
}

/** The shape of an object in a line, such as `{"order_id": string, "paid": true}`. */
export const shapeOf = (type: z.ZodType): string => shape(schemaOf(type));

function shape(schema: Schema): string {
  if (schema.oneOf) return shape(common(schema.oneOf));
  if ('const' in schema) return JSON.stringify(schema.const);
  if (schema.enum && schema.enum.length < 9) {
    return schema.enum.map((one) => JSON.stringify(one)).join(' | ');
  }
  if (schema.prefixItems) return `[${schema.prefixItems.map(shape).join(', ')}]`;
  if (schema.items) return `[${shape(schema.items)}, …]`;
  if (schema.type !== 'object' || !schema.properties) return typeOf(schema);
  const mark = (name: string) => (schema.required?.includes(name) ? '' : '?');
  const fields = Object.entries(schema.properties);
  return `{${fields.map(([name, type]) => `"${name}"${mark(name)}: ${shape(type)}`).join(', ')}}`;
}
