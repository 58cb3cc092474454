/** Fields on the docs page: a row for each, from the same schemas as in the OpenAPI document. */
import { html } from 'hono/html';
import type { z } from 'zod';
import { schemaOf } from '../contract/components.ts';
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
  prefixItems?: Schema[];
}

export interface Field {
  name: string;
  schema: Schema;
  required: boolean;
}

/** The fields of an object, each followed by those within it: `lines`, `lines[].item_id`. */
export const fieldsOf = (type: z.ZodType, io: 'input' | 'output' = 'output'): Field[] =>
  fieldsIn(schemaOf(type, io));

export const fieldsIn = (schema: Schema): Field[] => within(schema, '');

const within = ({ properties = {}, required = [] }: Schema, before: string): Field[] =>
  Object.entries(properties).flatMap(([key, schema]): Field[] => {
    const name = before + key;
    return [
      { name, schema, required: required.includes(key) },
      ...within(schema, `${name}.`),
      ...within(schema.items ?? {}, `${name}[].`),
    ];
  });

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

function typeOf({ type = 'any', items, additionalProperties }: Schema): string {
  if (items) return items.type === 'object' ? 'list of objects' : `list of ${typeOf(items)}`;
  return additionalProperties && type === 'object' && additionalProperties.type
    ? `{string: ${additionalProperties.type}}`
    : type;
}

function limitsOf(schema: Schema) {
  const { minimum, maximum, minItems = 0, maxItems, maxProperties, pattern, format } = schema;
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
    ...(propertyNames?.pattern ? [html`names ${code(propertyNames.pattern)}`] : []),
    ...(value_max !== undefined ? [`values of at most ${value_max} characters`] : []),
    ...(format === 'date-time' ? ['RFC 3339, UTC'] : pattern ? [code(pattern)] : []),
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
  if ('const' in schema) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(' | ');
  if (schema.prefixItems) return `[${schema.prefixItems.map(shape).join(', ')}]`;
  if (schema.items) return `[${shape(schema.items)}, …]`;
  if (schema.type !== 'object' || !schema.properties) return typeOf(schema);
  const mark = (name: string) => (schema.required?.includes(name) ? '' : '?');
  const fields = Object.entries(schema.properties);
  return `{${fields.map(([name, type]) => `"${name}"${mark(name)}: ${shape(type)}`).join(', ')}}`;
}
